
DECLARE
    key text;
    next_stage text;
    done_id bigint;
    done_tenant text;
    done_attempt integer;
    done_failures integer;
    done_available_at timestamptz;
    done_created_at timestamptz;
    trace text;
    known boolean := false;
    changed_at timestamptz;
BEGIN
    -- Nearly every change is one of a few, and every expression here is paid for by the writer, so those come first and are
    -- done with as little as can be. A function called from here would cost more than what it does.
    IF TG_OP = 'UPDATE' AND NEW.{key} IS NOT DISTINCT FROM OLD.{key} THEN
        IF NEW.{status}::text = 'running' AND {channel} IS NULL THEN
            IF OLD.{status}::text = 'done' AND OLD.{step}::text = (CASE NEW.{step}::text {entries} END)
               AND current_setting('transaction_isolation') IN ('read committed', 'read uncommitted')
            THEN
                RETURN NULL;  -- the stage has begun that was due
            END IF;
        END IF;
        IF NEW.{step} IS NOT DISTINCT FROM OLD.{step} AND NEW.{status} IS NOT DISTINCT FROM OLD.{status} THEN
            RETURN NULL;
        END IF;
    ELSIF TG_OP = 'TRUNCATE' THEN
        PERFORM pgbaton.jobs_truncated({pipeline});
        RETURN NULL;
    ELSIF TG_OP <> 'INSERT' THEN
        PERFORM pgbaton.jobs_gone({pipeline}, ARRAY[OLD.{key}::text]);
        IF TG_OP = 'DELETE' THEN
            RETURN NULL;
        END IF;
    END IF;
    key := NEW.{key}::text;
    IF key IS NULL THEN
        RETURN NULL;
    ELSIF pg_column_size(NEW.{key}) > 2640 THEN
        -- An index on it alone holds a little more than ours, which may not make this transaction fail.
        RAISE WARNING 'pgbaton leaves a job alone whose key is too long for an index: %', left(key, 60);
        RETURN NULL;
    END IF;

    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        NULL;
    ELSIF NEW.{status}::text = 'done' THEN
        next_stage := CASE NEW.{step}::text {next_stages} END;
        IF NEW.{step}::text IN ({stages}) THEN
            DELETE FROM ONLY pgbaton.dispatches d
             WHERE d.pipeline = {pipeline} AND d.job_key = key AND d.stage = NEW.{step}::text AND d.settled_at IS NULL
            RETURNING d.id, d.tenant, d.attempt, d.failures, d.available_at, d.created_at, d.traceparent
                 INTO done_id, done_tenant, done_attempt, done_failures, done_available_at, done_created_at, trace;
            IF FOUND THEN
                known := true;
                INSERT INTO pgbaton.settled (id, pipeline, job_key, tenant, stage, state, attempt, failures, available_at,
                                             created_at, settled_at, traceparent)
                VALUES (done_id, {pipeline}, key, done_tenant, NEW.{step}::text, 'completed', done_attempt, done_failures,
                        done_available_at, done_created_at, clock_timestamp(), trace);
                IF done_attempt > 0 THEN
                    UPDATE pgbaton.attempts t
                       SET finished_at = clock_timestamp(), outcome = 'completed'
                     WHERE t.dispatch_id = done_id AND t.attempt = done_attempt AND t.finished_at IS NULL;
                END IF;
                IF next_stage IS NOT NULL THEN
                    -- No other can be open: whoever would have made one since has waited for us to settle this one.
                    INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage, traceparent)
                    VALUES ({pipeline}, key, {new_tenant}, next_stage, pgbaton.traceparent(trace));
                END IF;
            END IF;
        END IF;
        IF next_stage IS NOT NULL AND NOT known THEN
            -- Who comes from a stage was moved there by hand, or not for the first time, and stays in the trace that it has.
            INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage, traceparent)
            VALUES ({pipeline}, key, {new_tenant}, next_stage, pgbaton.traceparent((
                SELECT s.traceparent FROM pgbaton.settled s
                 WHERE s.pipeline = {pipeline} AND s.job_key = key AND NEW.{step}::text IN ({stages})
                 ORDER BY s.id + 0 DESC LIMIT 1)))
            ON CONFLICT (pipeline, job_key) DO NOTHING;
            known := FOUND;
        END IF;
    ELSE
        -- Nothing becomes due; where nothing is due either, or what is due begins, there is nothing to settle.
        PERFORM FROM ONLY pgbaton.dispatches d
          WHERE d.pipeline = {pipeline} AND d.job_key = key AND d.state IN ('available', 'running', 'retryable')
            AND (d.stage IS DISTINCT FROM NEW.{step}::text OR NEW.{status}::text IS DISTINCT FROM 'running');
        known := NOT FOUND;
    END IF;

    -- A full notification queue would abort this transaction; workers poll anyway.
    IF known AND {channel} IS NULL THEN
        IF next_stage IS NOT NULL AND NOT pgbaton.nobody_sleeps({pipeline}) AND pg_notification_queue_usage() < 0.9 THEN
            PERFORM pg_notify('pgbaton_wake', {pipeline});
        END IF;
        RETURN NULL;
    END IF;
    IF TG_NARGS > 0 THEN
        changed_at := NEW.updated_at;
    END IF;
    IF NOT known THEN
        PERFORM pgbaton.job_changed({pipeline}, {channel}, key, {new_tenant}, NEW.{step}::text, NEW.{status}::text, changed_at);
    ELSIF pg_notification_queue_usage() < 0.9 THEN
        PERFORM pg_notify({channel}, pgbaton.event_payload(key, NEW.{step}::text, NEW.{status}::text, {new_tenant}, changed_at));
    END IF;
    RETURN NULL;
END
