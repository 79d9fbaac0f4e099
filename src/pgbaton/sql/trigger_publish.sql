    -- Every change is published on the channel, and workers listen there.
    IF pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.9 THEN
        PERFORM pg_catalog.pg_notify({channel}, pgbaton.event_payload(key, step, word, tenant, changed_at));
    END IF;
