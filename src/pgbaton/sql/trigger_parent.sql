    -- A child has come to an end: its parent may have waited for it. No sibling is read, and no row of the parent's: a worker
    -- counts the children after this commit.
    IF status OPERATOR(pg_catalog.<>) 'running' AND NULLIF(next_stage, '') IS NULL
       AND pg_catalog.octet_length(parent) OPERATOR(pg_catalog.<=) 2640
    THEN
        INSERT INTO pgbaton.due (pipeline, stage, job_key, status)
        VALUES ({parent_pipeline}, '', parent, status);
        IF NOT pg_catalog.pg_try_advisory_xact_lock_shared(72394502, pg_catalog.hashtext({parent_pipeline}))
           AND pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.9
        THEN
            PERFORM pg_catalog.pg_notify('pgbaton_wake', {parent_pipeline});
        END IF;
    END IF;
