-- As before; where the job was only just inserted, its lock keeps nobody from the dispatch of an older row with the same
-- key, and a worker that does not see the new row yet may be about to cancel it (forget). So what is settled is not
-- settled again, and a dispatch that is relied upon is locked until the commit. Without a conflict that costs nothing.
CREATE OR REPLACE FUNCTION pgbaton.settle_and_create(job_pipeline text, key text, job_tenant text, new_step text, new_status text)
RETURNS boolean
LANGUAGE plpgsql
AS $fn$
DECLARE
    open_dispatch record;
    new_state text;
    new_outcome text;
    calls integer;
    due boolean := false;
    parent text;
BEGIN
    SELECT d.id, d.stage, d.failures, d.traceparent, s.after, s.attempts INTO open_dispatch
      FROM pgbaton.dispatches d JOIN pgbaton.stages s ON s.pipeline = d.pipeline AND s.step = d.stage
     WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.state IN ('available', 'running', 'retryable');

    parent := open_dispatch.traceparent;
    IF open_dispatch.id IS NOT NULL THEN
        CASE
            WHEN new_step = open_dispatch.stage AND new_status = 'done' THEN
                new_state := 'completed';
                new_outcome := 'completed';
            WHEN new_step = open_dispatch.stage AND new_status = 'running' THEN
                NULL;  -- the stage has begun
            WHEN new_step = open_dispatch.stage AND new_status = 'failed' THEN
                new_state := pgbaton.state_after_failure(open_dispatch.failures + 1, open_dispatch.attempts);
                new_outcome := 'failed';
            WHEN new_step = open_dispatch.after AND new_status = 'done' THEN
                NULL;  -- the row was rewound
            ELSE
                new_state := 'cancelled';
                new_outcome := 'superseded';
        END CASE;
    END IF;

    IF new_state IS NOT NULL THEN
        due := new_state = 'retryable';
        UPDATE pgbaton.dispatches d
           SET state = new_state,
               failures = d.failures + (new_outcome = 'failed')::integer,
               worker = NULL,
               deadline = NULL,
               available_at = CASE WHEN due THEN clock_timestamp() + pgbaton.backoff(d.failures + 1)
                                   ELSE d.available_at END,
               settled_at = CASE WHEN NOT due THEN clock_timestamp() END
         WHERE d.id = open_dispatch.id AND d.state IN ('available', 'running', 'retryable')
        RETURNING d.attempt INTO calls;
        due := due AND FOUND;
        UPDATE pgbaton.attempts t
           SET finished_at = clock_timestamp(), outcome = new_outcome
         WHERE t.dispatch_id = open_dispatch.id AND t.attempt = calls AND t.finished_at IS NULL;
    END IF;

    IF new_status = 'done' THEN
        IF NOT EXISTS (SELECT FROM pgbaton.stages s
                        WHERE s.pipeline = job_pipeline AND s.step = new_step AND s.routed) THEN
            parent := NULL;
        ELSIF parent IS NULL THEN
            SELECT d.traceparent INTO parent FROM pgbaton.dispatches d
             WHERE d.pipeline = job_pipeline AND d.job_key = key
             ORDER BY d.id DESC LIMIT 1;
        END IF;
        INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage, traceparent)
        SELECT job_pipeline, key, job_tenant, s.step, pgbaton.traceparent(parent)
          FROM pgbaton.stages s
         WHERE s.pipeline = job_pipeline AND s.after = new_step AND s.routed
        ON CONFLICT (pipeline, job_key) WHERE state IN ('available', 'running', 'retryable')
        DO UPDATE SET state = dispatches.state WHERE false;  -- changes nothing, but has its lock
        due := due OR FOUND;
    END IF;

    RETURN due;
END
$fn$;
