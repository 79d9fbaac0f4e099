-- Transactions above READ COMMITTED, and a circuit for stages that are down.

-- An inbox for changes that a trigger could not apply in the user's own transaction. Nothing but inserts happens
-- to it there, so it can neither fail nor conflict; workers apply it by the row as it is then.
CREATE TABLE pgbaton.changes (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline   text NOT NULL,
    job_key    text NOT NULL,
    step       text,
    status     text,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE pgbaton.stages ADD COLUMN strikes integer NOT NULL DEFAULT 0, ADD COLUMN open_until timestamptz;
COMMENT ON COLUMN pgbaton.stages.strikes IS 'times in a row that the stage was found down; above 0: one probe at a time';
COMMENT ON COLUMN pgbaton.stages.open_until IS 'until then nobody calls the stage';

-- A job entered (step, status): settle the open dispatch and create the next one. True if something became due.
-- Runs in a transaction that holds the job row's lock: only a claim can touch the dispatch meanwhile, so what is
-- decided here from its stage and failures stays true.
CREATE FUNCTION pgbaton.settle_and_create(job_pipeline text, key text, job_tenant text, new_step text, new_status text)
RETURNS boolean
LANGUAGE plpgsql
AS $fn$
DECLARE
    open_dispatch record;
    new_state text;
    new_outcome text;
    calls integer;
    due boolean := false;
BEGIN
    SELECT d.id, d.stage, d.failures, s.after, s.attempts INTO open_dispatch
      FROM pgbaton.dispatches d JOIN pgbaton.stages s ON s.pipeline = d.pipeline AND s.step = d.stage
     WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.state IN ('available', 'running', 'retryable');

    IF FOUND THEN
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
         WHERE d.id = open_dispatch.id
        RETURNING d.attempt INTO calls;
        UPDATE pgbaton.attempts t
           SET finished_at = clock_timestamp(), outcome = new_outcome
         WHERE t.dispatch_id = open_dispatch.id AND t.attempt = calls AND t.finished_at IS NULL;
    END IF;

    IF new_status = 'done' THEN
        INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage)
        SELECT job_pipeline, key, job_tenant, s.step
          FROM pgbaton.stages s
         WHERE s.pipeline = job_pipeline AND s.after = new_step AND s.routed
        ON CONFLICT (pipeline, job_key) WHERE state IN ('available', 'running', 'retryable') DO NOTHING;
        due := due OR FOUND;
    END IF;

    RETURN due;
END
$fn$;

-- Apply changes of a job that could only be written down: by its row as it is now, under the row's lock. newest is
-- when the last of them was made, entered and entered_at the steps that they saw done and when.
CREATE FUNCTION pgbaton.absorb_job(job_pipeline text, key text, job_tenant text, now_step text, now_status text,
                                   newest timestamptz, entered text[], entered_at timestamptz[])
RETURNS boolean
LANGUAGE plpgsql
AS $fn$
DECLARE
    due boolean := false;
BEGIN
    -- A failure counts once. Where no attempt that was under way then is under way still, a worker has counted it by
    -- the answer and the row, and what is open now is a later attempt's.
    IF now_status IS DISTINCT FROM 'failed'
       OR NOT EXISTS (SELECT FROM pgbaton.dispatches d
                       WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.stage = now_step
                         AND d.state IN ('available', 'running', 'retryable'))
       OR EXISTS (SELECT FROM pgbaton.dispatches d
                    JOIN pgbaton.attempts t ON t.dispatch_id = d.id AND t.attempt = d.attempt
                   WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.stage = now_step AND d.state = 'running'
                     AND t.started_at <= newest)
    THEN
        due := pgbaton.settle_and_create(job_pipeline, key, job_tenant, now_step, now_status);
    END IF;
    -- The row went through an entry state and is beyond it already: the stage was begun by somebody else's call. If
    -- that one dies, only a dispatch brings the job on.
    IF now_status IN ('running', 'failed') THEN
        INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage)
        SELECT job_pipeline, key, job_tenant, s.step
          FROM unnest(entered, entered_at) AS e (step, entered_at)
          JOIN pgbaton.stages s
            ON s.pipeline = job_pipeline AND s.after = e.step AND s.step = now_step AND s.routed
         WHERE NOT EXISTS (SELECT FROM pgbaton.dispatches d
                            WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.stage = s.step
                              AND d.created_at >= e.entered_at)
         LIMIT 1
        ON CONFLICT (pipeline, job_key) WHERE state IN ('available', 'running', 'retryable') DO NOTHING;
        due := due OR FOUND;
    END IF;
    RETURN due;
END
$fn$;

-- What the trigger calls. In READ COMMITTED the change is applied at once. REPEATABLE READ neither sees
-- nor may update a dispatch that a worker wrote after the transaction's snapshot, and a SERIALIZABLE transaction that reads our
-- indexes would conflict with its neighbours on pages that they share: both would abort the user's work because
-- of us. There the change goes to the inbox, in the same commit.
CREATE OR REPLACE FUNCTION pgbaton.job_changed(job_pipeline text, key text, job_tenant text, new_step text,
                                               new_status text, changed_at timestamptz)
RETURNS void
LANGUAGE plpgsql
AS $fn$
DECLARE
    isolation constant text := current_setting('transaction_isolation');
    due boolean := true;
    publish_to text;
BEGIN
    IF isolation IN ('read committed', 'read uncommitted') THEN
        due := pgbaton.settle_and_create(job_pipeline, key, job_tenant, new_step, new_status);
    ELSE
        INSERT INTO pgbaton.changes (pipeline, job_key, step, status)
        VALUES (job_pipeline, key, new_step, new_status);
    END IF;

    -- A full notification queue would abort the user's commit; workers poll anyway.
    IF pg_notification_queue_usage() < 0.9 THEN
        SELECT p.channel INTO publish_to FROM pgbaton.pipelines p WHERE p.name = job_pipeline;
        IF publish_to IS NOT NULL THEN
            PERFORM pg_notify(publish_to, pgbaton.event_payload(key, new_step, new_status, job_tenant, changed_at));
        ELSIF due THEN
            PERFORM pg_notify('pgbaton_wake', job_pipeline);
        END IF;
    END IF;
END
$fn$;

-- Jobs are gone (deleted, truncated, or their key changed): nobody may be called for them any more.
CREATE FUNCTION pgbaton.cancel_open(job_pipeline text, keys text[]) RETURNS void
LANGUAGE plpgsql
AS $fn$
BEGIN
    WITH cancelled AS (
        UPDATE pgbaton.dispatches d
           SET state = 'cancelled', worker = NULL, deadline = NULL, settled_at = clock_timestamp()
         WHERE d.pipeline = job_pipeline AND d.job_key = ANY (keys)
           AND d.state IN ('available', 'running', 'retryable')
        RETURNING d.id, d.attempt
    )
    UPDATE pgbaton.attempts t
       SET finished_at = clock_timestamp(), outcome = 'superseded'
      FROM cancelled c
     WHERE t.dispatch_id = c.id AND t.attempt = c.attempt AND t.finished_at IS NULL;
END
$fn$;

CREATE OR REPLACE FUNCTION pgbaton.jobs_gone(job_pipeline text, keys text[]) RETURNS void
LANGUAGE plpgsql
AS $fn$
DECLARE
    isolation constant text := current_setting('transaction_isolation');
BEGIN
    IF isolation IN ('read committed', 'read uncommitted') THEN
        PERFORM pgbaton.cancel_open(job_pipeline, keys);
    ELSE
        INSERT INTO pgbaton.changes (pipeline, job_key) SELECT job_pipeline, unnest(keys);
    END IF;
END
$fn$;

-- A truncation reads every open dispatch: above READ COMMITTED it is left to workers, who find the jobs gone.
CREATE OR REPLACE FUNCTION pgbaton.jobs_truncated(job_pipeline text) RETURNS void
LANGUAGE plpgsql
AS $fn$
BEGIN
    IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        PERFORM pgbaton.cancel_open(job_pipeline, ARRAY(
            SELECT d.job_key FROM pgbaton.dispatches d
             WHERE d.pipeline = job_pipeline AND d.state IN ('available', 'running', 'retryable')));
    END IF;
END
$fn$;

-- As before, and a stage whose circuit is open is left alone; once that has passed, one probe is sent at a time.
DROP FUNCTION pgbaton.claim(text, bigint, text[], integer);
CREATE FUNCTION pgbaton.claim(for_pipeline text, for_worker bigint, known_stages text[], how_many integer)
RETURNS TABLE (id bigint, job_key text, stage text, attempt integer, probing boolean)
LANGUAGE plpgsql
AS $fn$
#variable_conflict use_column
DECLARE
    worker_name text;
    s record;
    room integer := how_many;
    slots integer;
    taken integer;
BEGIN
    SELECT w.name INTO worker_name FROM pgbaton.workers w
     WHERE w.id = for_worker AND w.expires_at > clock_timestamp();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % holds no lease', for_worker USING ERRCODE = 'PB001';
    END IF;
    FOR s IN
        SELECT st.step, st.concurrency, st.strikes > 0 AS probing
          FROM pgbaton.stages st JOIN pgbaton.pipelines p ON p.name = st.pipeline
         WHERE st.pipeline = for_pipeline AND st.step = ANY (known_stages)
           AND st.paused_at IS NULL AND p.paused_at IS NULL
           AND (st.open_until IS NULL OR st.open_until <= clock_timestamp())
         ORDER BY st.position DESC
    LOOP
        EXIT WHEN room <= 0;
        slots := CASE WHEN s.probing THEN 1 ELSE room END;
        IF s.concurrency IS NOT NULL THEN
            PERFORM 1 FROM pgbaton.stages st
              WHERE st.pipeline = for_pipeline AND st.step = s.step FOR NO KEY UPDATE;
            SELECT least(slots, s.concurrency - count(*)) INTO slots
              FROM pgbaton.dispatches d
             WHERE d.pipeline = for_pipeline AND d.stage = s.step AND d.state = 'running';
            CONTINUE WHEN slots <= 0;
        END IF;
        RETURN QUERY
        WITH due AS MATERIALIZED (
            SELECT d.id FROM pgbaton.dispatches d
             WHERE d.pipeline = for_pipeline AND d.stage = s.step
               AND d.state IN ('available', 'retryable') AND d.available_at <= clock_timestamp()
             ORDER BY d.available_at, d.id
             LIMIT slots
               FOR UPDATE SKIP LOCKED
        ), claimed AS (
            UPDATE pgbaton.dispatches d
               SET state = 'running', worker = for_worker, attempt = d.attempt + 1
              FROM due
             WHERE d.id = due.id
            RETURNING d.id, d.job_key, d.stage, d.attempt
        ), begun AS (
            INSERT INTO pgbaton.attempts (dispatch_id, attempt, worker)
            SELECT c.id, c.attempt, worker_name FROM claimed c
        )
        SELECT c.id, c.job_key, c.stage, c.attempt, s.probing FROM claimed c;
        GET DIAGNOSTICS taken = ROW_COUNT;
        room := room - taken;
        IF s.probing AND taken > 0 THEN
            -- While the probe is out, nobody else sends one.
            UPDATE pgbaton.stages st SET open_until = clock_timestamp() + interval '15 s'
             WHERE st.pipeline = for_pipeline AND st.step = s.step;
        END IF;
    END LOOP;
END
$fn$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgbaton FROM PUBLIC;
