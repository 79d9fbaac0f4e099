-- The schema of pgbaton, then the routes and the trigger of the pipeline ad_creative.
-- For plain psql. Safe to run again, and beside running workers. Printed by `pgbaton sql`.
BEGIN;
SELECT pg_catalog.pg_advisory_xact_lock(7239450211);
DO $pgbaton$
BEGIN
    IF to_regnamespace('pgbaton') IS NULL THEN
        CREATE SCHEMA pgbaton;
        CREATE TABLE pgbaton.migrations (
            version    integer PRIMARY KEY,
            name       text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        );
    END IF;
END
$pgbaton$;
DO $pgbaton$
DECLARE
    -- Users' transactions reach our tables in any order, so an upgrade that took its locks one by one could meet one in
    -- a deadlock, and the database might choose theirs to abort. All locks are had at once or given back, sooner than
    -- anybody looks for deadlocks.
    ours constant text := (
        SELECT string_agg(format('pgbaton.%I', relname), ', ' ORDER BY relname)
          FROM pg_class
         WHERE relnamespace = 'pgbaton'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'migrations');
    patience constant text := (
        SELECT greatest(5, setting::integer / 20)::text FROM pg_settings WHERE name = 'deadlock_timeout');
    deadline constant timestamptz := clock_timestamp() + interval '30 s';
BEGIN
    IF ours IS NULL OR EXISTS (SELECT FROM pgbaton.migrations WHERE version >= 8) THEN
        RETURN;
    END IF;
    LOOP
        BEGIN
            PERFORM set_config('lock_timeout', patience, true);
            EXECUTE 'LOCK TABLE ' || ours;
            PERFORM set_config('lock_timeout', '0', true);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF clock_timestamp() > deadline THEN
                RAISE lock_not_available USING MESSAGE = 'the tables of pgbaton were busy for 30 s';
            END IF;
        END;
        PERFORM pg_sleep(0.3 * random());
    END LOOP;
END
$pgbaton$;
DO $pgbaton$
BEGIN
    IF NOT EXISTS (SELECT FROM pgbaton.migrations WHERE version = 1) THEN
        EXECUTE $migration$
-- The engine's own tables and the protocol that runs inside the database.
--
-- Locks are always taken in the order job row -> dispatch -> attempt.
-- Times are the database's clock; a worker's clock decides nothing.

CREATE TABLE pgbaton.pipelines (
    name          text PRIMARY KEY,
    job_table     regclass NOT NULL UNIQUE,
    key_column    text NOT NULL,
    tenant_column text,
    step_column   text NOT NULL,
    status_column text NOT NULL,
    channel       text,
    paused_at     timestamptz,
    attached_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN pgbaton.pipelines.channel IS 'every change is published there; null: workers are woken by pgbaton_wake only';

CREATE TABLE pgbaton.stages (
    pipeline    text NOT NULL REFERENCES pgbaton.pipelines (name) ON DELETE CASCADE,
    step        text NOT NULL,
    after       text NOT NULL,
    position    integer NOT NULL,
    timeout     interval NOT NULL,
    attempts    integer NOT NULL CHECK (attempts >= 1),
    concurrency integer CHECK (concurrency >= 1),
    routed      boolean NOT NULL DEFAULT true,
    paused_at   timestamptz,
    PRIMARY KEY (pipeline, step)
);
COMMENT ON COLUMN pgbaton.stages.routed IS 'false: the stage left the pipeline; its open dispatches wait until it comes back';
CREATE UNIQUE INDEX stages_one_route_per_state ON pgbaton.stages (pipeline, after) WHERE routed;

CREATE TABLE pgbaton.workers (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline   text NOT NULL,
    name       text NOT NULL,
    capacity   integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    draining   boolean NOT NULL DEFAULT false
);

CREATE TABLE pgbaton.dispatches (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline     text NOT NULL,
    job_key      text NOT NULL,
    tenant       text,
    stage        text NOT NULL,
    state        text NOT NULL DEFAULT 'available'
        CHECK (state IN ('available', 'running', 'retryable', 'completed', 'dead', 'cancelled')),
    attempt      integer NOT NULL DEFAULT 0,
    failures     integer NOT NULL DEFAULT 0,
    worker       bigint,
    available_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deadline     timestamptz,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at   timestamptz,
    CHECK ((settled_at IS NULL) = (state IN ('available', 'running', 'retryable'))),
    CHECK (worker IS NULL OR state = 'running')
);
COMMENT ON COLUMN pgbaton.dispatches.attempt IS 'calls begun so far; with the id it names the attempt that may settle';
COMMENT ON COLUMN pgbaton.dispatches.failures IS 'attempts that count against the stage''s limit';
COMMENT ON COLUMN pgbaton.dispatches.worker IS 'the lease holder; null while running: the stage works on, until deadline';

-- Invariant 2: at most one open dispatch per job.
CREATE UNIQUE INDEX dispatches_one_open ON pgbaton.dispatches (pipeline, job_key)
    WHERE state IN ('available', 'running', 'retryable');
CREATE INDEX dispatches_due ON pgbaton.dispatches (pipeline, stage, available_at, id)
    WHERE state IN ('available', 'retryable');
CREATE INDEX dispatches_running ON pgbaton.dispatches (pipeline, stage, worker) WHERE state = 'running';
CREATE INDEX dispatches_settled ON pgbaton.dispatches (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX dispatches_of_job ON pgbaton.dispatches (job_key, id);

CREATE TABLE pgbaton.attempts (
    dispatch_id bigint NOT NULL REFERENCES pgbaton.dispatches (id) ON DELETE CASCADE,
    attempt     integer NOT NULL,
    worker      text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    outcome     text,
    http_status integer,
    error       text,
    PRIMARY KEY (dispatch_id, attempt)
);

-- Exponential backoff with full jitter: anything up to 1 s, 2 s, 4 s ... 300 s.
CREATE FUNCTION pgbaton.backoff(failures integer) RETURNS interval
LANGUAGE sql VOLATILE
AS $fn$ SELECT make_interval(secs => random() * least(300, power(2, least(failures, 20) - 1))) $fn$;

-- The retry rule: failures counts the attempt that has just failed.
CREATE FUNCTION pgbaton.state_after_failure(failures integer, attempts integer) RETURNS text
LANGUAGE sql IMMUTABLE
AS $fn$ SELECT CASE WHEN failures < attempts THEN 'retryable' ELSE 'dead' END $fn$;

-- The JSON event of a change. NOTIFY refuses 8,000 bytes and more, and that would abort the user's
-- transaction: keys are kept in this order as long as the whole still fits.
CREATE FUNCTION pgbaton.event_payload(job_id text, step text, status text, tenant text, updated_at timestamptz)
RETURNS text
LANGUAGE plpgsql STABLE
AS $fn$
DECLARE
    pair record;
    kept text := '';
    piece text;
    whole text := json_build_object('job_id', job_id, 'current_step', step, 'status', status,
                                    'tenant_id', tenant, 'updated_at', updated_at)::text;
BEGIN
    IF octet_length(whole) < 8000 THEN
        RETURN whole;
    END IF;
    FOR pair IN
        SELECT * FROM (VALUES ('job_id', to_json(job_id)), ('current_step', to_json(step)), ('status', to_json(status)),
                              ('tenant_id', to_json(tenant)), ('updated_at', to_json(updated_at))) AS v (key, value)
    LOOP
        piece := to_json(pair.key)::text || ' : ' || coalesce(pair.value::text, 'null');
        IF octet_length(kept) + octet_length(piece) + 4 < 8000 THEN
            kept := kept || CASE kept WHEN '' THEN '' ELSE ', ' END || piece;
        END IF;
    END LOOP;
    RETURN '{' || kept || '}';
END
$fn$;

-- A job entered (step, status): settle the open dispatch, create the next one, publish.
-- Runs in the transaction that changed the row, which holds the row's lock: only a claim can touch the
-- dispatch meanwhile, so what is decided here from its stage and failures stays true.
CREATE FUNCTION pgbaton.job_changed(job_pipeline text, key text, job_tenant text, new_step text, new_status text,
                                    changed_at timestamptz)
RETURNS void
LANGUAGE plpgsql
AS $fn$
DECLARE
    open_dispatch record;
    new_state text;
    new_outcome text;
    calls integer;
    due boolean := false;
    publish_to text;
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
CREATE FUNCTION pgbaton.jobs_gone(job_pipeline text, keys text[]) RETURNS void
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

CREATE FUNCTION pgbaton.jobs_truncated(job_pipeline text) RETURNS void
LANGUAGE sql
AS $fn$
    SELECT pgbaton.jobs_gone(job_pipeline, ARRAY(
        SELECT d.job_key FROM pgbaton.dispatches d
         WHERE d.pipeline = job_pipeline AND d.state IN ('available', 'running', 'retryable')))
$fn$;

-- Give a worker at most how_many due dispatches of the stages that it knows, later stages first:
-- what has begun is finished before more is begun. A function and not one statement, because a
-- fleet-wide limit must be counted with a snapshot taken after the stage's lock is held.
CREATE FUNCTION pgbaton.claim(for_pipeline text, for_worker bigint, known_stages text[], how_many integer)
RETURNS TABLE (id bigint, job_key text, stage text, attempt integer)
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
        SELECT st.step, st.concurrency
          FROM pgbaton.stages st JOIN pgbaton.pipelines p ON p.name = st.pipeline
         WHERE st.pipeline = for_pipeline AND st.step = ANY (known_stages)
           AND st.paused_at IS NULL AND p.paused_at IS NULL
         ORDER BY st.position DESC
    LOOP
        EXIT WHEN room <= 0;
        slots := room;
        IF s.concurrency IS NOT NULL THEN
            PERFORM 1 FROM pgbaton.stages st
              WHERE st.pipeline = for_pipeline AND st.step = s.step FOR NO KEY UPDATE;
            SELECT least(room, s.concurrency - count(*)) INTO slots
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
        SELECT c.id, c.job_key, c.stage, c.attempt FROM claimed c;
        GET DIAGNOSTICS taken = ROW_COUNT;
        room := room - taken;
    END LOOP;
END
$fn$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgbaton FROM PUBLIC;

        $migration$;
        INSERT INTO pgbaton.migrations (version, name) VALUES (1, 'engine');
    END IF;
END
$pgbaton$;
DO $pgbaton$
BEGIN
    IF NOT EXISTS (SELECT FROM pgbaton.migrations WHERE version = 2) THEN
        EXECUTE $migration$
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

        $migration$;
        INSERT INTO pgbaton.migrations (version, name) VALUES (2, 'isolation_and_circuit');
    END IF;
END
$pgbaton$;
DO $pgbaton$
BEGIN
    IF NOT EXISTS (SELECT FROM pgbaton.migrations WHERE version = 3) THEN
        EXECUTE $migration$
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

        $migration$;
        INSERT INTO pgbaton.migrations (version, name) VALUES (3, 'operate');
    END IF;
END
$pgbaton$;
DO $pgbaton$
BEGIN
    IF NOT EXISTS (SELECT FROM pgbaton.migrations WHERE version = 4) THEN
        EXECUTE $migration$
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

        $migration$;
        INSERT INTO pgbaton.migrations (version, name) VALUES (4, 'hot_path');
    END IF;
END
$pgbaton$;
DO $pgbaton$
BEGIN
    IF NOT EXISTS (SELECT FROM pgbaton.migrations WHERE version = 5) THEN
        EXECUTE $migration$
-- What statements that meet each other may not leave behind: attempts that stay open, jobs with no dispatch, dead jobs
-- that live again.

-- Cancel what is open for jobs. In two statements: the first may wait for a claim, whose attempt only a snapshot that
-- is taken after the wait can see.
CREATE OR REPLACE FUNCTION pgbaton.cancel_open(job_pipeline text, keys text[]) RETURNS void
LANGUAGE plpgsql
AS $fn$
DECLARE
    ids bigint[];
BEGIN
    WITH cancelled AS (
        UPDATE pgbaton.dispatches d
           SET state = 'cancelled', worker = NULL, deadline = NULL, settled_at = clock_timestamp()
         WHERE d.pipeline = job_pipeline AND d.job_key = ANY (keys)
           AND d.state IN ('available', 'running', 'retryable')
        RETURNING d.id
    )
    SELECT array_agg(c.id) INTO ids FROM cancelled c;
    UPDATE pgbaton.attempts t
       SET finished_at = clock_timestamp(), outcome = 'superseded'
     WHERE t.dispatch_id = ANY (ids) AND t.finished_at IS NULL;
END
$fn$;

-- Cancel what is open for jobs that are gone; returns those for which something was. Whoever is inserting a job again
-- has locked the dispatch that it found open, or is kept waiting by us: so, once we have the lock, a statement that
-- begins after it knows for certain whether the row is there. Nothing is waited for.
CREATE FUNCTION pgbaton.forget(job_pipeline text, keys text[]) RETURNS text[]
LANGUAGE plpgsql
AS $fn$
DECLARE
    held constant text[] := ARRAY(
        SELECT d.job_key FROM pgbaton.dispatches d
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

-- As before, but a rewind to the stage that was being called asks for no dispatch beside that one.
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
        ON CONFLICT (pipeline, job_key) WHERE state IN ('available', 'running', 'retryable') DO NOTHING;
        due := due OR FOUND;
    END IF;
    RETURN due;
END
$fn$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgbaton FROM PUBLIC;

        $migration$;
        INSERT INTO pgbaton.migrations (version, name) VALUES (5, 'interleavings');
    END IF;
END
$pgbaton$;
DO $pgbaton$
BEGIN
    IF NOT EXISTS (SELECT FROM pgbaton.migrations WHERE version = 6) THEN
        EXECUTE $migration$
-- What operators look for is among what failed, the newest first: not all that was ever called is read for it, and nothing
-- is sorted. Building the two takes about a second for each million attempts that are kept; calls that go well are in
-- neither.
CREATE INDEX attempts_failed ON pgbaton.attempts (dispatch_id, attempt) WHERE error IS NOT NULL;
CREATE INDEX dispatches_troubled_newest ON pgbaton.dispatches (pipeline, id, state)
    WHERE state IN ('retryable', 'dead', 'cancelled');

        $migration$;
        INSERT INTO pgbaton.migrations (version, name) VALUES (6, 'newest_troubles');
    END IF;
END
$pgbaton$;
DO $pgbaton$
BEGIN
    IF NOT EXISTS (SELECT FROM pgbaton.migrations WHERE version = 7) THEN
        EXECUTE $migration$
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

        $migration$;
        INSERT INTO pgbaton.migrations (version, name) VALUES (7, 'shorter_ways');
    END IF;
END
$pgbaton$;
DO $pgbaton$
BEGIN
    IF NOT EXISTS (SELECT FROM pgbaton.migrations WHERE version = 8) THEN
        EXECUTE $migration$
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

        $migration$;
        INSERT INTO pgbaton.migrations (version, name) VALUES (8, 'settled');
    END IF;
END
$pgbaton$;
COMMIT;

-- Attach pipeline 'ad_creative': its routes as rows, and its trigger on "public"."jobs".
-- Safe to run again: each part changes only what differs.
BEGIN;
SET LOCAL lock_timeout = '3s';
SELECT pg_catalog.pg_advisory_xact_lock(7239450211);

INSERT INTO pgbaton.pipelines AS p (name, job_table, key_column, tenant_column, step_column, status_column, channel)
VALUES ('ad_creative', '"public"."jobs"'::regclass, 'job_id', 'tenant_id', 'current_step', 'status', 'job_state_changed')
ON CONFLICT (name) DO UPDATE
   SET job_table = EXCLUDED.job_table, key_column = EXCLUDED.key_column, tenant_column = EXCLUDED.tenant_column,
       step_column = EXCLUDED.step_column, status_column = EXCLUDED.status_column, channel = EXCLUDED.channel,
       attached_at = now()
 WHERE (p.job_table, p.key_column, p.tenant_column, p.step_column, p.status_column, p.channel)
       IS DISTINCT FROM (EXCLUDED.job_table, EXCLUDED.key_column, EXCLUDED.tenant_column, EXCLUDED.step_column,
                         EXCLUDED.status_column, EXCLUDED.channel);

-- Routes that go or change step aside first: one state has one route at any moment.
UPDATE pgbaton.stages SET routed = false
 WHERE pipeline = 'ad_creative' AND routed
   AND (step, after) NOT IN (VALUES ('vlm_analyze', 'img_gen'), ('yolo_detect', 'vlm_analyze'), ('planner', 'yolo_detect'), ('overlay', 'planner'), ('vlm_judge', 'overlay'));
INSERT INTO pgbaton.stages AS s (pipeline, step, after, position, timeout, attempts, concurrency)
VALUES ('ad_creative', 'vlm_analyze', 'img_gen', 1, interval '600.000000 s', 5, 8),
       ('ad_creative', 'yolo_detect', 'vlm_analyze', 2, interval '600.000000 s', 5, 8),
       ('ad_creative', 'planner', 'yolo_detect', 3, interval '300.000000 s', 5, 8),
       ('ad_creative', 'overlay', 'planner', 4, interval '300.000000 s', 5, 8),
       ('ad_creative', 'vlm_judge', 'overlay', 5, interval '600.000000 s', 5, 8)
ON CONFLICT (pipeline, step) DO UPDATE
   SET after = EXCLUDED.after, position = EXCLUDED.position, timeout = EXCLUDED.timeout,
       attempts = EXCLUDED.attempts, concurrency = EXCLUDED.concurrency, routed = true
 WHERE (s.after, s.position, s.timeout, s.attempts, s.concurrency, s.routed)
       IS DISTINCT FROM (EXCLUDED.after, EXCLUDED.position, EXCLUDED.timeout, EXCLUDED.attempts,
                         EXCLUDED.concurrency, true);

DO $pgbaton$
DECLARE
    -- The engine's functions run with their owner's rights, so that a role which may update its jobs
    -- needs no right on the schema pgbaton.
    ours constant oid := to_regprocedure('"public"."notify_job_state_change"()');
    job_table constant regclass := '"public"."jobs"';
    -- updated_at is published where the column exists; its name is handed to the trigger as an argument.
    touch constant text := (
        SELECT attname FROM pg_attribute
         WHERE attrelid = job_table AND attname = 'updated_at' AND NOT attisdropped
           AND atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype));
BEGIN
    IF NOT has_function_privilege('pgbaton.job_changed(text, text, text, text, text, text, timestamptz)', 'EXECUTE') THEN
        RAISE insufficient_privilege USING MESSAGE =
            format('the role %s may not execute the functions of pgbaton, and the trigger runs with its rights', current_user);
    END IF;
    -- Plans are made once a session, perhaps while our tables are empty: they must be those for full ones.
    IF (SELECT md5(prosrc) = '4c14e19965980106b521a700bcc6912f' AND prosecdef
               AND proconfig = ARRAY['search_path=pg_catalog, pg_temp', 'enable_seqscan=off', 'plan_cache_mode=force_generic_plan']
          FROM pg_proc WHERE oid = ours) IS NOT TRUE THEN
        EXECUTE $ddl$
CREATE OR REPLACE FUNCTION "public"."notify_job_state_change"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $fn$
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
    IF TG_OP = 'UPDATE' AND NEW."job_id" IS NOT DISTINCT FROM OLD."job_id" THEN
        IF NEW."status"::text = 'running' AND 'job_state_changed' IS NULL THEN
            IF OLD."status"::text = 'done' AND OLD."current_step"::text = (CASE NEW."current_step"::text WHEN 'vlm_analyze' THEN 'img_gen' WHEN 'yolo_detect' THEN 'vlm_analyze' WHEN 'planner' THEN 'yolo_detect' WHEN 'overlay' THEN 'planner' WHEN 'vlm_judge' THEN 'overlay' END)
               AND current_setting('transaction_isolation') IN ('read committed', 'read uncommitted')
            THEN
                RETURN NULL;  -- the stage has begun that was due
            END IF;
        END IF;
        IF NEW."current_step" IS NOT DISTINCT FROM OLD."current_step" AND NEW."status" IS NOT DISTINCT FROM OLD."status" THEN
            RETURN NULL;
        END IF;
    ELSIF TG_OP = 'TRUNCATE' THEN
        PERFORM pgbaton.jobs_truncated('ad_creative');
        RETURN NULL;
    ELSIF TG_OP <> 'INSERT' THEN
        PERFORM pgbaton.jobs_gone('ad_creative', ARRAY[OLD."job_id"::text]);
        IF TG_OP = 'DELETE' THEN
            RETURN NULL;
        END IF;
    END IF;
    key := NEW."job_id"::text;
    IF key IS NULL THEN
        RETURN NULL;
    ELSIF pg_column_size(NEW."job_id") > 2640 THEN
        -- An index on it alone holds a little more than ours, which may not make this transaction fail.
        RAISE WARNING 'pgbaton leaves a job alone whose key is too long for an index: %', left(key, 60);
        RETURN NULL;
    END IF;

    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        NULL;
    ELSIF NEW."status"::text = 'done' THEN
        next_stage := CASE NEW."current_step"::text WHEN 'img_gen' THEN 'vlm_analyze' WHEN 'vlm_analyze' THEN 'yolo_detect' WHEN 'yolo_detect' THEN 'planner' WHEN 'planner' THEN 'overlay' WHEN 'overlay' THEN 'vlm_judge' END;
        IF NEW."current_step"::text IN ('vlm_analyze', 'yolo_detect', 'planner', 'overlay', 'vlm_judge') THEN
            DELETE FROM ONLY pgbaton.dispatches d
             WHERE d.pipeline = 'ad_creative' AND d.job_key = key AND d.stage = NEW."current_step"::text AND d.settled_at IS NULL
            RETURNING d.id, d.tenant, d.attempt, d.failures, d.available_at, d.created_at, d.traceparent
                 INTO done_id, done_tenant, done_attempt, done_failures, done_available_at, done_created_at, trace;
            IF FOUND THEN
                known := true;
                INSERT INTO pgbaton.settled (id, pipeline, job_key, tenant, stage, state, attempt, failures, available_at,
                                             created_at, settled_at, traceparent)
                VALUES (done_id, 'ad_creative', key, done_tenant, NEW."current_step"::text, 'completed', done_attempt, done_failures,
                        done_available_at, done_created_at, clock_timestamp(), trace);
                IF done_attempt > 0 THEN
                    UPDATE pgbaton.attempts t
                       SET finished_at = clock_timestamp(), outcome = 'completed'
                     WHERE t.dispatch_id = done_id AND t.attempt = done_attempt AND t.finished_at IS NULL;
                END IF;
                IF next_stage IS NOT NULL THEN
                    -- No other can be open: whoever would have made one since has waited for us to settle this one.
                    INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage, traceparent)
                    VALUES ('ad_creative', key, NEW."tenant_id"::text, next_stage, pgbaton.traceparent(trace));
                END IF;
            END IF;
        END IF;
        IF next_stage IS NOT NULL AND NOT known THEN
            -- Who comes from a stage was moved there by hand, or not for the first time, and stays in the trace that it has.
            INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage, traceparent)
            VALUES ('ad_creative', key, NEW."tenant_id"::text, next_stage, pgbaton.traceparent((
                SELECT s.traceparent FROM pgbaton.settled s
                 WHERE s.pipeline = 'ad_creative' AND s.job_key = key AND NEW."current_step"::text IN ('vlm_analyze', 'yolo_detect', 'planner', 'overlay', 'vlm_judge')
                 ORDER BY s.id + 0 DESC LIMIT 1)))
            ON CONFLICT (pipeline, job_key) DO NOTHING;
            known := FOUND;
        END IF;
    ELSE
        -- Nothing becomes due; where nothing is due either, or what is due begins, there is nothing to settle.
        PERFORM FROM ONLY pgbaton.dispatches d
          WHERE d.pipeline = 'ad_creative' AND d.job_key = key AND d.state IN ('available', 'running', 'retryable')
            AND (d.stage IS DISTINCT FROM NEW."current_step"::text OR NEW."status"::text IS DISTINCT FROM 'running');
        known := NOT FOUND;
    END IF;

    -- A full notification queue would abort this transaction; workers poll anyway.
    IF known AND 'job_state_changed' IS NULL THEN
        IF next_stage IS NOT NULL AND NOT pgbaton.nobody_sleeps('ad_creative') AND pg_notification_queue_usage() < 0.9 THEN
            PERFORM pg_notify('pgbaton_wake', 'ad_creative');
        END IF;
        RETURN NULL;
    END IF;
    IF TG_NARGS > 0 THEN
        changed_at := NEW.updated_at;
    END IF;
    IF NOT known THEN
        PERFORM pgbaton.job_changed('ad_creative', 'job_state_changed', key, NEW."tenant_id"::text, NEW."current_step"::text, NEW."status"::text, changed_at);
    ELSIF pg_notification_queue_usage() < 0.9 THEN
        PERFORM pg_notify('job_state_changed', pgbaton.event_payload(key, NEW."current_step"::text, NEW."status"::text, NEW."tenant_id"::text, changed_at));
    END IF;
    RETURN NULL;
END
$fn$
        $ddl$;
        REVOKE ALL ON FUNCTION "public"."notify_job_state_change"() FROM PUBLIC;
    END IF;

    IF NOT EXISTS (
        SELECT FROM pg_trigger
         WHERE tgrelid = job_table AND tgname = 'job_state_change_trigger' AND tgfoid = '"public"."notify_job_state_change"()'::regprocedure
           AND tgtype = 29  -- after insert, update, delete, for each row
           AND tgenabled IN ('O', 'A') AND tgqual IS NULL AND tgattr = ''
           AND tgargs = coalesce(convert_to(touch, 'UTF8') || E'\\x00', ''))
    THEN
        EXECUTE format('CREATE OR REPLACE TRIGGER job_state_change_trigger AFTER INSERT OR UPDATE OR DELETE ON %s
                        FOR EACH ROW EXECUTE FUNCTION %s(%s)', '"public"."jobs"', '"public"."notify_job_state_change"', coalesce(quote_literal(touch), ''));
        ALTER TABLE "public"."jobs" ENABLE TRIGGER job_state_change_trigger;
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_trigger
         WHERE tgrelid = job_table AND tgname = 'job_state_truncate_trigger' AND tgfoid = '"public"."notify_job_state_change"()'::regprocedure
           AND tgtype = 32  -- after truncate, for each statement
           AND tgenabled IN ('O', 'A'))
    THEN
        CREATE OR REPLACE TRIGGER job_state_truncate_trigger AFTER TRUNCATE ON "public"."jobs"
            FOR EACH STATEMENT EXECUTE FUNCTION "public"."notify_job_state_change"();
        ALTER TABLE "public"."jobs" ENABLE TRIGGER job_state_truncate_trigger;
    END IF;
END
$pgbaton$;
COMMIT;
