-- What operators need: tenants that are paused, who did what, a trace for each run, and indexes for their questions.

CREATE TABLE pgbaton.audit (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    who      text NOT NULL,
    action   text NOT NULL,
    pipeline text NOT NULL,
    stage    text,
    tenant   text,
    job_key  text,
    jobs     integer NOT NULL DEFAULT 0,
    detail   jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE pgbaton.paused_tenants (
    pipeline   text NOT NULL REFERENCES pgbaton.pipelines (name) ON DELETE CASCADE,
    tenant     text NOT NULL,
    paused_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    resumed_at timestamptz,
    PRIMARY KEY (pipeline, tenant)
);
COMMENT ON COLUMN pgbaton.paused_tenants.resumed_at IS 'set: not paused any more; the row stays until everything that was parked is due again';

-- What is due for a paused tenant is parked: due at this time, so that no claim meets it a second time.
CREATE FUNCTION pgbaton.parked() RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $fn$ SELECT timestamptz '9999-01-01 00:00:00+00' $fn$;

-- An error without what differs from job to job, for grouping; the HTTP status stays.
CREATE FUNCTION pgbaton.error_group(error text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $fn$
    SELECT left(regexp_replace(regexp_replace(left(coalesce(error, ''), 500),
                    '\m[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}\M|\m[0-9a-fA-F]{16,}\M', '…', 'g'),
                    '(?<!HTTP )\m[0-9]+([.,:][0-9]+)*', '…', 'g'), 200)
$fn$;

-- Ids are given in the order of time, so the last dispatch created before a time is found by halving. Transactions
-- that overlap make that exact to a moment only: look at created_at, too.
CREATE FUNCTION pgbaton.last_dispatch_before(moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE
AS $fn$
DECLARE
    low bigint;
    high bigint;
    middle bigint;
    seen record;
BEGIN
    SELECT min(id) - 1, max(id) INTO low, high FROM pgbaton.dispatches;
    WHILE low < high LOOP
        middle := low + (high - low + 1) / 2;
        SELECT id, created_at INTO seen FROM pgbaton.dispatches WHERE id <= middle AND id > low ORDER BY id DESC LIMIT 1;
        IF NOT FOUND THEN
            low := middle;
        ELSIF seen.created_at < moment THEN
            low := middle;
        ELSE
            high := seen.id - 1;
        END IF;
    END LOOP;
    RETURN low + 1000;
END
$fn$;

-- A W3C trace context: a new one, or the next span of a trace.
CREATE FUNCTION pgbaton.traceparent(parent text) RETURNS text
LANGUAGE sql VOLATILE
AS $fn$
    SELECT '00-' || coalesce(substr(parent, 4, 32), replace(gen_random_uuid()::text, '-', ''))
           || '-' || right(replace(gen_random_uuid()::text, '-', ''), 16) || '-01'
$fn$;

-- As before, and a new dispatch goes on with the trace of the one before it; the first state of the pipeline begins
-- a new run of the job, which is a new trace.
-- Runs in a transaction that holds the job row's lock: only a claim can touch the dispatch meanwhile, so what is
-- decided here from its stage and failures stays true.
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
         WHERE d.id = open_dispatch.id
        RETURNING d.attempt INTO calls;
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
        ON CONFLICT (pipeline, job_key) WHERE state IN ('available', 'running', 'retryable') DO NOTHING;
        due := due OR FOUND;
    END IF;

    RETURN due;
END
$fn$;

-- As before, but what is due for a paused tenant is parked and not claimed; and it tells the trace and how
-- long, in seconds, each had been due.
DROP FUNCTION pgbaton.claim(text, bigint, text[], integer);
CREATE FUNCTION pgbaton.claim(for_pipeline text, for_worker bigint, known_stages text[], how_many integer)
RETURNS TABLE (id bigint, job_key text, stage text, attempt integer, probing boolean, traceparent text,
               waited double precision)
LANGUAGE plpgsql
AS $fn$
#variable_conflict use_column
DECLARE
    worker_name text;
    s record;
    room integer := how_many;
    slots integer;
    taken integer;
    any_paused constant boolean := EXISTS (SELECT FROM pgbaton.paused_tenants p WHERE p.pipeline = for_pipeline);
    moment timestamptz;  -- and not clock_timestamp(): with that an index is read on through all that is not due
    parked integer;
    parked_in_all integer := 0;
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
        moment := clock_timestamp();
        WHILE any_paused AND parked_in_all < 2000 LOOP
            -- Whoever resumes a tenant waits for those who park for it, so nothing is parked after that. A tenant
            -- that is being resumed this moment is left alone.
            WITH next AS MATERIALIZED (
                SELECT d.id, d.tenant FROM pgbaton.dispatches d
                 WHERE d.pipeline = for_pipeline AND d.stage = s.step
                   AND d.state IN ('available', 'retryable') AND d.available_at <= moment
                 ORDER BY d.available_at, d.id
                 LIMIT slots + 100
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
        RETURN QUERY
        WITH first AS MATERIALIZED (
            SELECT d.id, d.tenant FROM pgbaton.dispatches d
             WHERE d.pipeline = for_pipeline AND d.stage = s.step
               AND d.state IN ('available', 'retryable') AND d.available_at <= moment
             ORDER BY d.available_at, d.id
             LIMIT slots
               FOR UPDATE SKIP LOCKED
        ), due AS (
            SELECT f.id FROM first f
             WHERE NOT any_paused
                OR NOT EXISTS (SELECT FROM pgbaton.paused_tenants p
                                WHERE p.pipeline = for_pipeline AND p.tenant = f.tenant AND p.resumed_at IS NULL)
        ), claimed AS (
            UPDATE pgbaton.dispatches d
               SET state = 'running', worker = for_worker, attempt = d.attempt + 1
              FROM due
             WHERE d.id = due.id
            RETURNING d.id, d.job_key, d.stage, d.attempt, d.traceparent, d.available_at
        ), begun AS (
            INSERT INTO pgbaton.attempts (dispatch_id, attempt, worker)
            SELECT c.id, c.attempt, worker_name FROM claimed c
        )
        SELECT c.id, c.job_key, c.stage, c.attempt, s.probing, c.traceparent,
               extract(epoch FROM moment - c.available_at)::float8
          FROM claimed c;
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

-- Last, because from here to the commit the table is locked. Building the indexes takes about a second for each
-- million dispatches that are kept.
ALTER TABLE pgbaton.attempts ADD COLUMN answer text;
COMMENT ON COLUMN pgbaton.attempts.answer IS 'the beginning of the answer''s body, as far as the workers'' setting lets it be kept';

ALTER TABLE pgbaton.dispatches ADD COLUMN traceparent text;
ALTER TABLE pgbaton.dispatches ALTER COLUMN traceparent SET DEFAULT pgbaton.traceparent(NULL);
COMMENT ON COLUMN pgbaton.dispatches.traceparent IS 'the W3C trace context of this hop; all hops of one run are one trace';

-- States that few are in: their counts, what died, and filters for them.
CREATE INDEX dispatches_troubled ON pgbaton.dispatches (pipeline, stage, state, id)
    WHERE state IN ('retryable', 'dead', 'cancelled');
-- The beginning of the tenant: a name too long for an index would abort the user's transaction.
CREATE INDEX dispatches_of_tenant ON pgbaton.dispatches (pipeline, left(tenant, 64), id) WHERE tenant IS NOT NULL;
-- As before, and also for the beginning of a key.
DROP INDEX pgbaton.dispatches_of_job;
CREATE INDEX dispatches_of_job ON pgbaton.dispatches (job_key text_pattern_ops, id);

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgbaton FROM PUBLIC;
