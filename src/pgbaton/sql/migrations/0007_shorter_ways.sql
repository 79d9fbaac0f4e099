-- Shorter ways: the trigger does itself what happens on nearly every change, and a claim need not step over all that was
-- claimed before it.

-- A span id needs no more than to be unlike any other: reading the system's random numbers for it costs more than the rest.
CREATE OR REPLACE FUNCTION pgbaton.traceparent(parent text) RETURNS text
LANGUAGE sql
AS $fn$
    SELECT coalesce(left(parent, 36), '00-' || replace(gen_random_uuid()::text, '-', '') || '-')
           || left(md5(concat(parent, random())), 16) || '-01'
$fn$;

-- Settle the open dispatch by the row's new state, and create the next one. The trigger comes here for what it does not
-- do itself, and what is read from the inbox comes here. Where the job was only just inserted, its lock keeps nobody from
-- the dispatch of an older row with the same key, and a worker that does not see the new row yet may be about to cancel it
-- (forget): so what is settled is not settled again, and a dispatch that is relied upon is locked until the commit.
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

-- As before. reach: for how many seconds back to look, for each known stage (null: as far as anything is due). What was
-- claimed is still in the index until vacuum has been there, and under an old snapshot vacuum cannot: whoever claims
-- much knows how far it has come, and looks back as far as a transaction may lag behind; and at everything every now and
-- then.
DROP FUNCTION pgbaton.claim(text, bigint, text[], integer);
CREATE FUNCTION pgbaton.claim(for_pipeline text, for_worker bigint, known_stages text[], how_many integer,
                              reach float8[] DEFAULT NULL)
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
    steps text[];
    slots integer[];
    since timestamptz[];
    probed text[] := '{}';
    free integer;
    any_paused boolean;
    any_limited boolean;
    moment timestamptz;  -- and not clock_timestamp(): with that an index is read on through all that is not due
    parked integer;
    parked_in_all integer := 0;
    due bigint[];
BEGIN
    -- Later stages first: what is nearly done gets done.
    SELECT w.name, EXISTS (SELECT FROM pgbaton.paused_tenants p WHERE p.pipeline = for_pipeline), o.steps, o.any_limited
      INTO worker_name, any_paused, steps, any_limited
      FROM pgbaton.workers w
     CROSS JOIN (SELECT array_agg(st.step ORDER BY st.position DESC) AS steps,
                        bool_or(st.concurrency IS NOT NULL OR st.strikes > 0) AS any_limited
                   FROM pgbaton.stages st JOIN pgbaton.pipelines p ON p.name = st.pipeline
                  WHERE st.pipeline = for_pipeline AND st.step = ANY (known_stages)
                    AND st.paused_at IS NULL AND p.paused_at IS NULL
                    AND (st.open_until IS NULL OR st.open_until <= clock_timestamp())) AS o
     WHERE w.id = for_worker AND w.expires_at > clock_timestamp();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % holds no lease', for_worker USING ERRCODE = 'PB001';
    ELSIF steps IS NULL THEN
        RETURN;
    END IF;
    slots := array_fill(how_many, ARRAY[cardinality(steps)]);
    IF any_limited THEN
        FOR s IN
            SELECT o.turn, st.step, st.concurrency, st.strikes > 0 AS probing
              FROM unnest(steps) WITH ORDINALITY AS o (step, turn)
              JOIN pgbaton.stages st ON st.pipeline = for_pipeline AND st.step = o.step
             WHERE st.concurrency IS NOT NULL OR st.strikes > 0
             ORDER BY o.turn  -- everybody locks them in this order
        LOOP
            free := CASE WHEN s.probing THEN 1 ELSE how_many END;
            IF s.probing THEN
                probed := probed || s.step;
            END IF;
            IF s.concurrency IS NOT NULL THEN
                PERFORM 1 FROM pgbaton.stages st
                  WHERE st.pipeline = for_pipeline AND st.step = s.step FOR NO KEY UPDATE;
                SELECT greatest(least(free, s.concurrency - count(*)), 0) INTO free
                  FROM pgbaton.dispatches d
                 WHERE d.pipeline = for_pipeline AND d.stage = s.step AND d.state = 'running';
            END IF;
            slots[s.turn] := free;
        END LOOP;
    END IF;
    moment := clock_timestamp();
    IF reach IS NOT NULL THEN
        since := ARRAY(SELECT moment - make_interval(secs => reach[array_position(known_stages, st.step)])
                         FROM unnest(steps) WITH ORDINALITY AS st (step, turn) ORDER BY st.turn);
    END IF;
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
          FROM unnest(steps, slots, since) WITH ORDINALITY AS st (step, slots, since, turn)
         CROSS JOIN LATERAL (
                SELECT d.id FROM pgbaton.dispatches d
                 WHERE d.pipeline = for_pipeline AND d.stage = st.step
                   AND d.state IN ('available', 'retryable') AND d.available_at <= moment
                   AND d.available_at >= coalesce(st.since, '-infinity')
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
    )
    SELECT c.id, c.job_key, c.stage, c.attempt, c.stage = ANY (probed), c.traceparent,
           extract(epoch FROM moment - c.available_at)::float8
      FROM claimed c;
    IF probed <> '{}' THEN
        -- While the probe is out, nobody else sends one.
        UPDATE pgbaton.stages st SET open_until = clock_timestamp() + interval '15 s'
         WHERE st.pipeline = for_pipeline AND st.step = ANY (probed)
           AND st.step IN (SELECT d.stage FROM pgbaton.dispatches d
                            WHERE d.id = ANY (due) AND d.state = 'running' AND d.worker = for_worker);
    END IF;
END
$fn$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgbaton FROM PUBLIC;
