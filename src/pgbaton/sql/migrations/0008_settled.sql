-- What is settled leaves the table that everything hot looks in: pgbaton.dispatches itself keeps what is open, with no more
-- indexes than claims and settles need; pgbaton.settled keeps the rest, until the retention ends. It inherits from the first,
-- so whoever reads pgbaton.dispatches sees both. Settled is for good: what is tried anew is a dispatch of its own.
-- Moving what was settled before takes about ten seconds for each million.

CREATE TABLE pgbaton.settled () INHERITS (pgbaton.dispatches) WITH (autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE pgbaton.settled IS 'dispatches that are completed, dead or cancelled';

INSERT INTO pgbaton.settled SELECT * FROM ONLY pgbaton.dispatches WHERE settled_at IS NOT NULL ORDER BY id;
DELETE FROM ONLY pgbaton.dispatches WHERE settled_at IS NOT NULL;

-- Whoever may work with the one may work with the other.
DO $grants$
DECLARE
    held record;
BEGIN
    FOR held IN
        SELECT a.privilege_type AS what, a.is_grantable,
               CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who
          FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
         WHERE c.oid = 'pgbaton.dispatches'::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON pgbaton.settled TO %s', held.what, held.who)
                || CASE WHEN held.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END;
    END LOOP;
END
$grants$;

ALTER TABLE pgbaton.settled ADD CONSTRAINT settled_pkey PRIMARY KEY (id);
CREATE INDEX settled_of_job ON pgbaton.settled (job_key text_pattern_ops, id);
CREATE INDEX settled_of_tenant ON pgbaton.settled (pipeline, left(tenant, 64), id) WHERE tenant IS NOT NULL;
CREATE INDEX settled_lately ON pgbaton.settled (settled_at);
CREATE INDEX settled_troubled ON pgbaton.settled (pipeline, stage, state, id)
    WHERE state IN ('retryable', 'dead', 'cancelled');  -- as of the open ones: what is asked for may be of both tables
CREATE INDEX settled_troubled_newest ON pgbaton.settled (pipeline, id, state)
    WHERE state IN ('retryable', 'dead', 'cancelled');

-- One for each job, whatever its state: nothing but what is open stays.
DROP INDEX pgbaton.dispatches_one_open;
CREATE UNIQUE INDEX dispatches_one_open ON pgbaton.dispatches (job_key text_pattern_ops, pipeline);
DROP INDEX pgbaton.dispatches_of_job;
DROP INDEX pgbaton.dispatches_of_tenant;
DROP INDEX pgbaton.dispatches_settled;
DROP INDEX pgbaton.dispatches_troubled_newest;

-- Whoever settles a dispatch where it is, or writes down a settled one there, has it moved.
CREATE FUNCTION pgbaton.keep_settled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $fn$
BEGIN
    DELETE FROM ONLY pgbaton.dispatches d WHERE d.id = NEW.id;
    IF FOUND THEN
        INSERT INTO pgbaton.settled SELECT NEW.*;
    END IF;
    RETURN NULL;
END
$fn$;
CREATE TRIGGER keep_settled AFTER INSERT OR UPDATE ON pgbaton.dispatches
    FOR EACH ROW WHEN (NEW.settled_at IS NOT NULL) EXECUTE FUNCTION pgbaton.keep_settled();

-- Cancel what is open for jobs. In two statements: the first may wait for a claim, whose attempt only a snapshot that
-- is taken after the wait can see.
CREATE OR REPLACE FUNCTION pgbaton.cancel_open(job_pipeline text, keys text[]) RETURNS void
LANGUAGE plpgsql
AS $fn$
DECLARE
    ids bigint[];
BEGIN
    WITH gone AS (
        DELETE FROM ONLY pgbaton.dispatches d
         WHERE d.pipeline = job_pipeline AND d.job_key = ANY (keys)
           AND d.state IN ('available', 'running', 'retryable')
        RETURNING d.*
    ), kept AS (
        INSERT INTO pgbaton.settled AS s (id, pipeline, job_key, tenant, stage, state, attempt, failures, available_at,
                                          created_at, settled_at, traceparent)
        SELECT g.id, g.pipeline, g.job_key, g.tenant, g.stage, 'cancelled', g.attempt, g.failures, g.available_at,
               g.created_at, clock_timestamp(), g.traceparent
          FROM gone g
        RETURNING s.id
    )
    SELECT array_agg(k.id) INTO ids FROM kept k;
    UPDATE pgbaton.attempts t
       SET finished_at = clock_timestamp(), outcome = 'superseded'
     WHERE t.dispatch_id = ANY (ids) AND t.finished_at IS NULL;
END
$fn$;

-- The rest as before, where what is open is now.
CREATE OR REPLACE FUNCTION pgbaton.jobs_truncated(job_pipeline text) RETURNS void
LANGUAGE plpgsql
AS $fn$
BEGIN
    IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        PERFORM pgbaton.cancel_open(job_pipeline, ARRAY(
            SELECT d.job_key FROM ONLY pgbaton.dispatches d
             WHERE d.pipeline = job_pipeline AND d.state IN ('available', 'running', 'retryable')));
    END IF;
END
$fn$;

CREATE OR REPLACE FUNCTION pgbaton.forget(job_pipeline text, keys text[]) RETURNS text[]
LANGUAGE plpgsql
AS $fn$
DECLARE
    held constant text[] := ARRAY(
        SELECT d.job_key FROM ONLY pgbaton.dispatches d
         WHERE d.pipeline = job_pipeline AND d.job_key = ANY (keys) AND d.state IN ('available', 'running', 'retryable')
           FOR NO KEY UPDATE SKIP LOCKED);
    absent constant text := (
        SELECT format('SELECT array_agg(k) FROM unnest($1) AS k WHERE NOT EXISTS (SELECT FROM %s AS j WHERE j.%I = k::%s)',
                      p.job_table, p.key_column, format_type(a.atttypid, a.atttypmod))
          FROM pgbaton.pipelines p
          JOIN pg_attribute a ON a.attrelid = p.job_table AND a.attname = p.key_column
         WHERE p.name = job_pipeline);
    gone text[];
BEGIN
    EXECUTE absent INTO gone USING held;
    PERFORM pgbaton.cancel_open(job_pipeline, gone);
    RETURN gone;
END
$fn$;

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
      FROM ONLY pgbaton.dispatches d JOIN pgbaton.stages s ON s.pipeline = d.pipeline AND s.step = d.stage
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
        UPDATE ONLY pgbaton.dispatches d
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
        ON CONFLICT (pipeline, job_key)
        DO UPDATE SET state = dispatches.state WHERE false;
        due := due OR FOUND;
    END IF;
    RETURN due;
END
$fn$;

CREATE OR REPLACE FUNCTION pgbaton.absorb_job(job_pipeline text, key text, job_tenant text, now_step text, now_status text,
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
       OR NOT EXISTS (SELECT FROM ONLY pgbaton.dispatches d
                       WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.stage = now_step
                         AND d.state IN ('available', 'running', 'retryable'))
       OR EXISTS (SELECT FROM ONLY pgbaton.dispatches d
                    JOIN pgbaton.attempts t ON t.dispatch_id = d.id AND t.attempt = d.attempt
                   WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.stage = now_step AND d.state = 'running'
                     AND t.started_at <= newest)
    THEN
        due := pgbaton.settle_and_create(job_pipeline, key, job_tenant, now_step, now_status);
    END IF;
    -- The row went through an entry state and is beyond it already: the stage was begun by somebody else's call. If
    -- that one dies, only a dispatch brings the job on. But one that was open then, and not at its end, was rewound
    -- and went on, whatever came of it.
    IF now_status IN ('running', 'failed') THEN
        INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage)
        SELECT job_pipeline, key, job_tenant, s.step
          FROM unnest(entered, entered_at) AS e (step, entered_at)
          JOIN pgbaton.stages s
            ON s.pipeline = job_pipeline AND s.after = e.step AND s.step = now_step AND s.routed
         WHERE NOT EXISTS (SELECT FROM pgbaton.dispatches d
                            WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.stage = s.step
                              AND coalesce(d.settled_at, 'infinity') >= e.entered_at
                              AND NOT EXISTS (SELECT FROM unnest(entered, absorb_job.entered_at) AS ended (step, ended_at)
                                               WHERE ended.step = s.step
                                                 AND ended.ended_at BETWEEN d.created_at AND e.entered_at))
         LIMIT 1
        ON CONFLICT (pipeline, job_key) DO NOTHING;
        due := due OR FOUND;
    END IF;
    RETURN due;
END
$fn$;

CREATE OR REPLACE FUNCTION pgbaton.claim(for_pipeline text, for_worker bigint, known_stages text[], how_many integer,
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
                  FROM ONLY pgbaton.dispatches d
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
                    SELECT d.id, d.tenant FROM ONLY pgbaton.dispatches d
                     WHERE d.pipeline = for_pipeline AND d.stage = st.step
                       AND d.state IN ('available', 'retryable') AND d.available_at <= moment
                     ORDER BY d.available_at, d.id
                     LIMIT st.slots + 100) AS n
        ), paused AS MATERIALIZED (
            SELECT p.tenant FROM pgbaton.paused_tenants p
             WHERE p.pipeline = for_pipeline AND p.resumed_at IS NULL AND p.tenant IN (SELECT next.tenant FROM next)
               FOR SHARE SKIP LOCKED
        ), held AS MATERIALIZED (
            SELECT d.id FROM ONLY pgbaton.dispatches d
             WHERE d.id IN (SELECT next.id FROM next JOIN paused ON paused.tenant = next.tenant)
               AND d.state IN ('available', 'retryable')
               FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE ONLY pgbaton.dispatches d SET available_at = pgbaton.parked() FROM held WHERE d.id = held.id;
        GET DIAGNOSTICS parked = ROW_COUNT;
        EXIT WHEN parked = 0;
        parked_in_all := parked_in_all + parked;
    END LOOP;
    due := ARRAY(
        SELECT n.id
          FROM unnest(steps, slots, since) WITH ORDINALITY AS st (step, slots, since, turn)
         CROSS JOIN LATERAL (
                SELECT d.id FROM ONLY pgbaton.dispatches d
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
        UPDATE ONLY pgbaton.dispatches d
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
           AND st.step IN (SELECT d.stage FROM ONLY pgbaton.dispatches d
                            WHERE d.id = ANY (due) AND d.state = 'running' AND d.worker = for_worker);
    END IF;
END
$fn$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgbaton FROM PUBLIC;
