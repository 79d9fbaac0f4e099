        -- A worker that sleeps, or is about to, holds this lock or waits for it: where this transaction shares it, all workers
        -- are awake, and none falls asleep before the commit. A full queue would abort this transaction; workers poll anyway.
        IF NOT pg_catalog.pg_try_advisory_xact_lock_shared(72394502, pg_catalog.hashtext({pipeline}))
           AND pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.9
        THEN
            PERFORM pg_catalog.pg_notify('pgbaton_wake', {pipeline});
        END IF;
