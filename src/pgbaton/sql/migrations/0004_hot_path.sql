-- The way of every job, in fewer and steadier statements.

-- Settle the open dispatch by the row's new state, and create the next one; as before, but what happens on nearly every
-- change (a stage begins, a stage is done) is one look-up each. Where the job was only just inserted, its lock keeps
-- nobody from the dispatch of an older row with the same key, and a worker that does not see the new row yet may be about
-- to cancel it (forget): so what is settled is not settled again, and a dispatch that is relied upon is locked until the
-- commit.
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
    IF new_status = 'done' THEN
        UPDATE pgbaton.dispatches d
           SET state = 'completed', worker = NULL, deadline = NULL, settled_at = clock_timestamp()
         WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.state IN ('available', 'running', 'retryable')
           AND d.stage = new_step
        RETURNING d.id, d.attempt, d.traceparent INTO open_dispatch;
        IF FOUND THEN
            UPDATE pgbaton.attempts t
               SET finished_at = clock_timestamp(), outcome = 'completed'
             WHERE t.dispatch_id = open_dispatch.id AND t.attempt = open_dispatch.attempt AND t.finished_at IS NULL;
            INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage, traceparent)
            SELECT job_pipeline, key, job_tenant, s.step, pgbaton.traceparent(open_dispatch.traceparent)
              FROM pgbaton.stages s
             WHERE s.pipeline = job_pipeline AND s.after = new_step AND s.routed
            ON CONFLICT (pipeline, job_key) WHERE state IN ('available', 'running', 'retryable')
            DO UPDATE SET state = dispatches.state WHERE false;  -- changes nothing, but has its lock
            RETURN FOUND;
        END IF;
    ELSIF new_status = 'running' THEN
        PERFORM FROM pgbaton.dispatches d
          WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.state IN ('available', 'running', 'retryable')
            AND d.stage = new_step;
        IF FOUND THEN
            RETURN false;  -- the stage has begun
        END IF;
    END IF;

    SELECT d.id, d.stage, d.failures, d.traceparent, s.after, s.attempts INTO open_dispatch
      FROM pgbaton.dispatches d JOIN pgbaton.stages s ON s.pipeline = d.pipeline AND s.step = d.stage
     WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.state IN ('available', 'running', 'retryable');
    parent := open_dispatch.traceparent;
    IF open_dispatch.id IS NOT NULL THEN
        CASE
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
         WHERE d.id = open_dispatch.id AND d.settled_at IS NULL  -- not by state: an index of all that is open would do
        RETURNING d.attempt INTO calls;
        due := due AND FOUND;
        UPDATE pgbaton.attempts t
           SET finished_at = clock_timestamp(), outcome = new_outcome
         WHERE t.dispatch_id = open_dispatch.id AND t.attempt = calls AND t.finished_at IS NULL;
    END IF;

    IF new_status = 'done' THEN
        IF NOT EXISTS (SELECT FROM pgbaton.stages s
                        WHERE s.pipeline = job_pipeline AND s.after = new_step AND s.routed) THEN
            RETURN due;
        END IF;
        -- What enters the pipeline anew begins a trace; what goes on, or goes back, stays in the one that it has.
        IF NOT EXISTS (SELECT FROM pgbaton.stages s
                        WHERE s.pipeline = job_pipeline AND s.step = new_step AND s.routed) THEN
            parent := NULL;
        ELSIF parent IS NULL THEN
            SELECT d.traceparent INTO parent FROM pgbaton.dispatches d
             WHERE d.pipeline = job_pipeline AND d.job_key = key
             ORDER BY d.id + 0 DESC LIMIT 1;  -- by the job, and not back through all ids
        END IF;
        INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage, traceparent)
        SELECT job_pipeline, key, job_tenant, s.step, pgbaton.traceparent(parent)
          FROM pgbaton.stages s
         WHERE s.pipeline = job_pipeline AND s.after = new_step AND s.routed
        ON CONFLICT (pipeline, job_key) WHERE state IN ('available', 'running', 'retryable')
        DO UPDATE SET state = dispatches.state WHERE false;
        due := due OR FOUND;
    END IF;
    RETURN due;
END
$fn$;

-- The gate of a pipeline: one advisory lock. A worker that goes to sleep asks for it alone, a writer tries to share it
-- until its commit. If that succeeds nobody is asleep, and nobody falls asleep before the writer has committed.
CREATE FUNCTION pgbaton.nobody_sleeps(for_pipeline text)
RETURNS boolean
LANGUAGE sql
AS $fn$ SELECT pg_try_advisory_xact_lock_shared(72394502, hashtext(for_pipeline)) $fn$;

-- What the trigger calls for every change of a job's key, step or status. publish_to: the channel that every change is
-- published on; null: workers are woken, where one sleeps.
CREATE FUNCTION pgbaton.job_changed(
    job_pipeline text, publish_to text, key text, job_tenant text, new_step text, new_status text, changed_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
AS $fn$
DECLARE
    due boolean := true;
BEGIN
    IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        due := pgbaton.settle_and_create(job_pipeline, key, job_tenant, new_step, new_status);
    ELSE
        INSERT INTO pgbaton.changes (pipeline, job_key, step, status)
        VALUES (job_pipeline, key, new_step, new_status);
    END IF;
    -- A full notification queue would abort the user's commit; workers poll anyway.
    IF publish_to IS NOT NULL THEN
        IF pg_notification_queue_usage() < 0.9 THEN
            PERFORM pg_notify(publish_to, pgbaton.event_payload(key, new_step, new_status, job_tenant, changed_at));
        END IF;
    ELSIF due AND NOT pgbaton.nobody_sleeps(job_pipeline) AND pg_notification_queue_usage() < 0.9 THEN
        PERFORM pg_notify('pgbaton_wake', job_pipeline);
    END IF;
END
$fn$;

-- As triggers of older versions call it.
CREATE OR REPLACE FUNCTION pgbaton.job_changed(job_pipeline text, key text, job_tenant text, new_step text, new_status text,
                                               changed_at timestamptz)
RETURNS void
LANGUAGE plpgsql
AS $fn$
BEGIN
    PERFORM pgbaton.job_changed(job_pipeline, (SELECT p.channel FROM pgbaton.pipelines p WHERE p.name = job_pipeline),
                                key, job_tenant, new_step, new_status, changed_at);
END
$fn$;

-- Nearly always the whole fits; only then it is not taken apart.
CREATE OR REPLACE FUNCTION pgbaton.claim(for_pipeline text, for_worker bigint, known_stages text[], how_many integer)
RETURNS TABLE (id bigint, job_key text, stage text, attempt integer, probing boolean, traceparent text, waited float8)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $fn$
#variable_conflict use_column
DECLARE
    worker_name text;
    s record;
    steps text[] := '{}';
    slots integer[] := '{}';
    probed text[] := '{}';
    free integer;
    any_paused boolean;
    moment timestamptz;  -- and not clock_timestamp(): with that an index is read on through all that is not due
    parked integer;
    parked_in_all integer := 0;
    due bigint[];
BEGIN
    SELECT w.name, EXISTS (SELECT FROM pgbaton.paused_tenants p WHERE p.pipeline = for_pipeline)
      INTO worker_name, any_paused
      FROM pgbaton.workers w
     WHERE w.id = for_worker AND w.expires_at > clock_timestamp();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % holds no lease', for_worker USING ERRCODE = 'PB001';
    END IF;
    -- Later stages first: what is nearly done gets done.
    FOR s IN
        SELECT st.step, st.concurrency, st.strikes > 0 AS probing
          FROM pgbaton.stages st JOIN pgbaton.pipelines p ON p.name = st.pipeline
         WHERE st.pipeline = for_pipeline AND st.step = ANY (known_stages)
           AND st.paused_at IS NULL AND p.paused_at IS NULL
           AND (st.open_until IS NULL OR st.open_until <= clock_timestamp())
         ORDER BY st.position DESC
    LOOP
        free := CASE WHEN s.probing THEN 1 ELSE how_many END;
        IF s.concurrency IS NOT NULL THEN
            PERFORM 1 FROM pgbaton.stages st
              WHERE st.pipeline = for_pipeline AND st.step = s.step FOR NO KEY UPDATE;
            SELECT least(free, s.concurrency - count(*)) INTO free
              FROM pgbaton.dispatches d
             WHERE d.pipeline = for_pipeline AND d.stage = s.step AND d.state = 'running';
            CONTINUE WHEN free <= 0;
        END IF;
        steps := steps || s.step;
        slots := slots || free;
        IF s.probing THEN
            probed := probed || s.step;
        END IF;
    END LOOP;
    moment := clock_timestamp();
    WHILE any_paused AND parked_in_all < 2000 LOOP
        -- Whoever resumes a tenant waits for those who park for it, so nothing is parked after that. A tenant
        -- that is being resumed this moment is left alone.
        WITH next AS MATERIALIZED (
            SELECT n.id, n.tenant
              FROM unnest(steps, slots) AS st (step, slots)
             CROSS JOIN LATERAL (
                    SELECT d.id, d.tenant FROM pgbaton.dispatches d
                     WHERE d.pipeline = for_pipeline AND d.stage = st.step
                       AND d.state IN ('available', 'retryable') AND d.available_at <= moment
                     ORDER BY d.available_at, d.id
                     LIMIT st.slots + 100) AS n
        ), paused AS MATERIALIZED (
            SELECT p.tenant FROM pgbaton.paused_tenants p
             WHERE p.pipeline = for_pipeline AND p.resumed_at IS NULL AND p.tenant IN (SELECT next.tenant FROM next)
               FOR SHARE SKIP LOCKED
        ), held AS MATERIALIZED (
            SELECT d.id FROM pgbaton.dispatches d
             WHERE d.id IN (SELECT next.id FROM next JOIN paused ON paused.tenant = next.tenant)
               AND d.state IN ('available', 'retryable')
               FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE pgbaton.dispatches d SET available_at = pgbaton.parked() FROM held WHERE d.id = held.id;
        GET DIAGNOSTICS parked = ROW_COUNT;
        EXIT WHEN parked = 0;
        parked_in_all := parked_in_all + parked;
    END LOOP;
    due := ARRAY(
        SELECT n.id
          FROM unnest(steps, slots) WITH ORDINALITY AS st (step, slots, turn)
         CROSS JOIN LATERAL (
                SELECT d.id FROM pgbaton.dispatches d
                 WHERE d.pipeline = for_pipeline AND d.stage = st.step
                   AND d.state IN ('available', 'retryable') AND d.available_at <= moment
                 ORDER BY d.available_at, d.id
                 LIMIT st.slots
                   FOR NO KEY UPDATE SKIP LOCKED) AS n
         LIMIT how_many);
    IF due = '{}' THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH claimed AS (
        UPDATE pgbaton.dispatches d
           SET state = 'running', worker = for_worker, attempt = d.attempt + 1
         WHERE d.id = ANY (due)
           AND (NOT any_paused
                OR NOT EXISTS (SELECT FROM pgbaton.paused_tenants p
                                WHERE p.pipeline = for_pipeline AND p.tenant = d.tenant AND p.resumed_at IS NULL))
        RETURNING d.id, d.job_key, d.stage, d.attempt, d.traceparent, d.available_at
    ), begun AS (
        INSERT INTO pgbaton.attempts (dispatch_id, attempt, worker)
        SELECT c.id, c.attempt, worker_name FROM claimed c
    ), probing AS (
        -- While the probe is out, nobody else sends one.
        UPDATE pgbaton.stages st SET open_until = clock_timestamp() + interval '15 s'
         WHERE probed <> '{}' AND st.pipeline = for_pipeline AND st.step = ANY (probed)
           AND st.step IN (SELECT c.stage FROM claimed c)
    )
    SELECT c.id, c.job_key, c.stage, c.attempt, c.stage = ANY (probed), c.traceparent,
           extract(epoch FROM moment - c.available_at)::float8
      FROM claimed c;
END
$fn$;

-- Its check cost every claim a look-up for each attempt; whoever prunes dispatches prunes their attempts.
ALTER TABLE pgbaton.attempts DROP CONSTRAINT attempts_dispatch_id_fkey;

-- Postgres reads the text of every CHECK anew in every statement that writes: a tenth of what the trigger costs the writer.
-- What they said is asked of live data by `pgbaton doctor --invariants`, and after every step of the property test.
ALTER TABLE pgbaton.dispatches
    DROP CONSTRAINT dispatches_check, DROP CONSTRAINT dispatches_check1, DROP CONSTRAINT dispatches_state_check;

-- An attempt is written three times within moments; with room on its page no index is touched again. The open dispatches
-- are few and change all the time: what they leave behind is cleaned up before it is in the way.
ALTER TABLE pgbaton.attempts SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE pgbaton.dispatches SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgbaton FROM PUBLIC;
