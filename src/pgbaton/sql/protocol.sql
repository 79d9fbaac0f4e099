-- The protocol: every function and view of the schema pgbaton, in the order of a dispatch's life.
--
--   1  The duty. A transaction of yours moves a row into a state that a stage follows. The trigger (trigger.sql, installed on
--      your table by `pgbaton attach`) inserts a duty into pgbaton.due, in that transaction, and wakes a worker that sleeps.
--      It reads, locks and changes no row of these tables. Where a row leaves a state in which a dispatch may be open,
--      the trigger leaves a look: a duty without a stage.
--   2  The claim. A worker's turn (worker/turn.sql) takes duties, oldest first, last stage first. The everyday job has one
--      duty, the row where the duty says, and no call but the one that the duty ends: the turn ends that call, makes the duty
--      the job's call and returns it. Every other job is left where it is, and named. Then the worker calls the stage; no
--      transaction is open meanwhile.
--   3  The verdict. What the turn cannot end by itself, the worker looks at (worker/look.sql), decides in Python (outcome.py,
--      which alone knows the rules) and writes (worker/settle.sql), as long as nothing that it saw has changed. An attempt
--      that ended is a row of pgbaton.history. A job that is to be called again waits in pgbaton.calls.
--   4  The lease. A worker that is lost lets it lapse; any worker looks at what the lost one held, and decides by the row.
--   5  Adoption. Rows that were there before their state was routed are left alone or called, as a person says (`pgbaton
--      attach`). In shadow mode the trigger records what would be called. A database that the pipeline was not attached in
--      gives no lease.
--   6  What people see.
--
-- Locks: duties, then the call, then the job's row; a statement that meets a lock skips that job and comes back to it.
-- Times are the database's clock. Names are qualified: the search_path of a session changes nothing here.
-- A function whose parameters or result change gets a new name, so that workers of two versions run side by side.

-- 1. The duty ---------------------------------------------------------------------------------------------------------

-- The JSON event of a change. NOTIFY refuses 8,000 bytes and more, and that would abort the user's transaction: keys are
-- kept in this order as long as the whole still fits.
CREATE OR REPLACE FUNCTION pgbaton.event_payload(job_id text, step text, status text, tenant text, updated_at timestamptz)
RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
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

-- A part of a key of several columns, in one spelling under any time zone and date style of a session. They have no SET clause,
-- so that Postgres puts their bodies in the place of the calls.
CREATE OR REPLACE FUNCTION pgbaton.key_part(part anyelement) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $fn$ SELECT part::pg_catalog.text $fn$;
CREATE OR REPLACE FUNCTION pgbaton.key_part(part date) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $fn$ SELECT pg_catalog.to_jsonb(part) OPERATOR(pg_catalog.#>>) '{}' $fn$;
CREATE OR REPLACE FUNCTION pgbaton.key_part(part timestamp) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $fn$ SELECT pg_catalog.to_jsonb(part) OPERATOR(pg_catalog.#>>) '{}' $fn$;
CREATE OR REPLACE FUNCTION pgbaton.key_part(part timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $fn$
    SELECT (pg_catalog.to_jsonb(pg_catalog.timezone('UTC', part)) OPERATOR(pg_catalog.#>>) '{}')
           OPERATOR(pg_catalog.||) CASE WHEN pg_catalog.isfinite(part) THEN 'Z' ELSE '' END
$fn$;

-- 2. The claim --------------------------------------------------------------------------------------------------------

-- Whether a lease holds. Leases that lapsed while Postgres was away get their length once more from its start: a restart
-- must not look like the death of all workers. Without a SET clause Postgres puts the body in the place of the call, which
-- saves each turn 0.03 ms; so its names are qualified.
CREATE OR REPLACE FUNCTION pgbaton.alive(w pgbaton.workers) RETURNS boolean
LANGUAGE sql VOLATILE
AS $fn$
    SELECT w.ended_at IS NULL
       AND greatest(w.expires_at, pg_catalog.pg_postmaster_start_time()
                                  OPERATOR(pg_catalog.+) (w.expires_at OPERATOR(pg_catalog.-) w.renewed_at))
           OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
$fn$;

-- The name of a pipeline's home, as a session remembers it. Without a SET clause, as above.
CREATE OR REPLACE FUNCTION pgbaton.home(p pgbaton.pipelines) RETURNS text
LANGUAGE sql STABLE
AS $fn$ SELECT pg_catalog.concat(p.home_system, '/', p.home_database) $fn$;

-- Raises PB002 in a copy of the pipeline's database, and PB001 where the worker holds no lease: a lease is copied, too. The
-- session remembers in pgbaton.home that it is at home, for it never changes its database: at_home() reads the server's control
-- file, which takes 33 µs, and the setting takes 3. Called where search_path is set: to set it again would cost as much as the
-- rest. A claim that goes by no lanes asks the same itself (granted.sql), and calls this where the answer is no.
CREATE OR REPLACE FUNCTION pgbaton.check_claim(for_pipeline text, for_worker bigint) RETURNS boolean
LANGUAGE plpgsql
AS $fn$
DECLARE
    here text;
    alive boolean;
BEGIN
    SELECT pgbaton.home(p), pgbaton.alive(w) INTO here, alive
      FROM pgbaton.pipelines AS p LEFT JOIN pgbaton.workers AS w ON w.id = for_worker WHERE p.name = for_pipeline;
    IF here IS DISTINCT FROM current_setting('pgbaton.home', true) THEN
        IF NOT (SELECT pgbaton.at_home(p) FROM pgbaton.pipelines AS p WHERE p.name = for_pipeline) THEN
            RAISE EXCEPTION 'the pipeline % was not attached in this database', for_pipeline USING ERRCODE = 'PB002';
        END IF;
        PERFORM set_config('pgbaton.home', here, false);
    END IF;
    IF alive IS NOT TRUE THEN
        RAISE EXCEPTION 'worker % holds no lease', for_worker USING ERRCODE = 'PB001';
    END IF;
    RETURN true;
END
$fn$;

-- How many calls of a stage a claim may begin that has a limit or was found down (struck). Its row is locked until the claim
-- commits, and running calls are counted after that: two workers never count the same free slot. A stage that was found down
-- gets one probe: the statement that claims it closes the circuit to others until the probe is back (15 s at most).
CREATE OR REPLACE FUNCTION pgbaton.room(for_pipeline text, at_step text, struck boolean, how_many integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    s pgbaton.stages;
BEGIN
    SELECT * INTO s FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.step = at_step FOR NO KEY UPDATE;
    IF struck THEN
        IF s.open_until > clock_timestamp() THEN  -- another worker's probe is under way since
            RETURN 0;
        END IF;
        how_many := least(how_many, 1);
    END IF;
    IF s.concurrency IS NOT NULL THEN
        how_many := least(how_many, s.concurrency - (
            SELECT count(*) FROM pgbaton.calls AS c WHERE c.pipeline = for_pipeline AND c.slot = at_step));
    END IF;
    RETURN how_many;
END
$fn$;

-- 3. The verdict ------------------------------------------------------------------------------------------------------

-- due_at of a call whose tenant is paused: no claim reads that far.
CREATE OR REPLACE FUNCTION pgbaton.parked() RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $fn$ SELECT timestamptz '9999-01-01 00:00:00+00' $fn$;

-- The stage of a job's last dispatch, where that died because the table refused the row: it would be refused again. It is
-- tried again when the row moves, or a person says so. (attempt 0: the dispatch ended without any call.)
CREATE OR REPLACE FUNCTION pgbaton.refused_stage(for_pipeline text, key text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN h.state = 'dead' AND (h.outcome = 'refused' OR h.attempt = 0) THEN h.stage END
      FROM pgbaton.history AS h
     WHERE h.job_key = key AND h.pipeline = for_pipeline AND h.state IS NOT NULL
     ORDER BY h.id DESC LIMIT 1
$fn$;

CREATE OR REPLACE FUNCTION pgbaton.refused_at(for_pipeline text, key text, at_stage text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$ SELECT coalesce(pgbaton.refused_stage(for_pipeline, key) = at_stage, false) $fn$;

-- 4. The lease --------------------------------------------------------------------------------------------------------

-- A new lease for a worker, in place of ``old`` (null: it has none); ``lease`` is its length in seconds. The worker keeps the
-- attempts that it names, where the old lease still holds them; other calls of the old lease are lost, and are rescued as any
-- lost worker's. A worker that did not hear the answer asks again in the place of the same old lease: the lease that it did
-- not hear of ends as well. Raises PB002 in a copy of the pipeline's database.
CREATE OR REPLACE FUNCTION pgbaton.take_lease(for_pipeline text, old bigint, worker_name text, worker_capacity integer,
                                              lease float8, ids bigint[], attempts integer[], takes text[])
RETURNS TABLE (worker bigint, kept_ids bigint[], kept_attempts integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    fresh bigint;
BEGIN
    IF NOT (SELECT pgbaton.at_home(p) FROM pgbaton.pipelines p WHERE p.name = for_pipeline) THEN
        RAISE EXCEPTION 'the pipeline % was not attached in this database', for_pipeline USING ERRCODE = 'PB002';
    END IF;
    UPDATE pgbaton.workers w SET ended_at = clock_timestamp()
     WHERE (w.id = old OR w.instead_of = old) AND w.name = worker_name AND w.ended_at IS NULL;
    INSERT INTO pgbaton.workers (pipeline, name, capacity, expires_at, instead_of, stages)
    VALUES (for_pipeline, worker_name, worker_capacity, clock_timestamp() + make_interval(secs => lease), old, takes)
    RETURNING id INTO fresh;
    RETURN QUERY
    WITH kept AS (
        UPDATE pgbaton.calls c SET worker = fresh
         WHERE c.pipeline = for_pipeline AND c.attempt = attempts[array_position(ids, c.id)]
           AND c.worker IN (SELECT w.id FROM pgbaton.workers w
                             WHERE (w.id = old OR w.instead_of = old) AND w.name = worker_name)
           AND c.due_at IS NULL AND c.deadline IS NULL
        RETURNING c.id, c.attempt
    )
    SELECT fresh, coalesce(array_agg(k.id), '{}'), coalesce(array_agg(k.attempt), '{}') FROM kept k;
END
$fn$;

-- 5. Adoption ---------------------------------------------------------------------------------------------------------

-- The server's system identifier, which its standbys share and a restored copy does not; null where the role may not ask.
CREATE OR REPLACE FUNCTION pgbaton.this_system() RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    RETURN (SELECT c.system_identifier FROM pg_control_system() AS c);
EXCEPTION WHEN insufficient_privilege OR feature_not_supported THEN
    RETURN NULL;
END
$fn$;

CREATE OR REPLACE FUNCTION pgbaton.this_database() RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$ SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database() $fn$;

-- Whether this is the database that the pipeline was attached in: a copy of it must not call the stages of the original.
CREATE OR REPLACE FUNCTION pgbaton.at_home(p pgbaton.pipelines) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT p.home_database IS NULL
        OR p.home_database = pgbaton.this_database() AND coalesce(p.home_system = pgbaton.this_system(), true)
$fn$;

-- A place from 0 to 100, below 100, for each job key; the same on every server and in every version.
CREATE OR REPLACE FUNCTION pgbaton.share_of(job_key text) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $fn$ SELECT ('x' || left(md5(job_key), 8))::bit(32)::bigint * 100.0::float8 / 4294967296 $fn$;

-- Whether a job is called; where not, the trigger records it in pgbaton.shadow. trigger.sql has the same rule.
CREATE OR REPLACE FUNCTION pgbaton.is_live(for_pipeline text, job_key text, tenant text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce((SELECT pgbaton.share_of(job_key) < (p.rollout ->> 'share')::float8
                         OR coalesce(p.rollout -> 'tenants' ? tenant, false)
                       FROM pgbaton.pipelines AS p WHERE p.name = for_pipeline AND p.rollout IS NOT NULL), true)
$fn$;

-- Whether a row in a routed state that no trigger saw is left alone: it stood there before that was routed, or a walk over the
-- rows of the past has not ended and so may still find that it did.
CREATE OR REPLACE FUNCTION pgbaton.left_alone(for_pipeline text, key text, at_step text, at_status text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT EXISTS (SELECT FROM pgbaton.past AS p
                    WHERE p.pipeline = for_pipeline AND p.job_key = key AND p.step = at_step AND p.status = at_status)
        OR EXISTS (SELECT FROM pgbaton.adoptions AS a WHERE a.pipeline = for_pipeline AND a.ended_at IS NULL)
$fn$;

-- 6. What people see --------------------------------------------------------------------------------------------------

-- An error with ids and numbers taken out: what the same trouble has in common. An HTTP status stays.
CREATE OR REPLACE FUNCTION pgbaton.error_group(error text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT left(regexp_replace(regexp_replace(left(coalesce(error, ''), 500),
                    '\m[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}\M|\m[0-9a-fA-F]{16,}\M', '…', 'g'),
                    '(?<!HTTP )\m[0-9]+([.,:][0-9]+)*', '…', 'g'), 200)
$fn$;

-- An id that no dispatch exceeds which was made before ``moment`` and has ended. Found by halves, so that a search for old
-- dispatches does not read new ones; 1,000 are added, because ids follow the time only nearly.
CREATE OR REPLACE FUNCTION pgbaton.last_ended_before(moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    low bigint;
    high bigint;
    middle bigint;
    seen record;
BEGIN
    SELECT min(id) - 1, max(id) INTO low, high FROM pgbaton.history WHERE state IS NOT NULL;
    WHILE low < high LOOP
        middle := low + (high - low + 1) / 2;
        SELECT id, created_at INTO seen FROM pgbaton.history
         WHERE state IS NOT NULL AND id <= middle AND id > low ORDER BY id DESC LIMIT 1;
        IF NOT FOUND OR seen.created_at < moment THEN
            low := middle;
        ELSE
            high := seen.id - 1;
        END IF;
    END LOOP;
    RETURN low + 1000;
END
$fn$;

-- One row for each time that a job entered a routed state, from the commit that brought it there. A call whose row has
-- passed (stage, done) shows as completed before a worker has come: the duty or look from there says so.
CREATE OR REPLACE VIEW pgbaton.dispatches AS
    SELECT d.id, d.pipeline, d.job_key, d.tenant, d.stage,
           CASE WHEN done.at IS NULL THEN 'available' ELSE 'completed' END AS state,
           0 AS attempt, 0 AS failures, NULL::bigint AS worker, d.created_at AS available_at, NULL::timestamptz AS deadline,
           d.created_at, done.at AS settled_at, NULL::bigint AS run
      FROM pgbaton.due AS d
      LEFT JOIN LATERAL (
            SELECT min(o.created_at) AS at FROM pgbaton.due AS o
             WHERE o.job_key = d.job_key AND o.pipeline = d.pipeline AND o.id > d.id AND o.step = d.stage AND o.status = 'done'
           ) AS done ON true
     WHERE d.stage <> ''
    UNION ALL
    SELECT c.id, c.pipeline, c.job_key, c.tenant, c.stage,
           CASE WHEN done.at IS NOT NULL THEN 'completed' WHEN c.due_at IS NULL THEN 'running'
                WHEN c.attempt = 0 OR c.outcome IN ('lost', 'released') THEN 'available' ELSE 'retryable' END,
           c.attempt, c.failures, CASE WHEN num_nonnulls(done.at, c.due_at, c.deadline) = 0 THEN c.worker END,
           coalesce(c.due_at, c.created_at),
           c.deadline, c.created_at, done.at, c.run
      FROM pgbaton.calls AS c
      LEFT JOIN LATERAL (
            SELECT min(d.created_at) AS at FROM pgbaton.due AS d
             WHERE d.job_key = c.job_key AND d.pipeline = c.pipeline AND d.id > c.id
               AND d.step = c.stage AND d.status = 'done'
           ) AS done ON true
    UNION ALL
    SELECT c.next_id, c.pipeline, c.job_key, c.tenant, c.stage, 'available', 0, 0, NULL, c.next_at, NULL, c.next_at, NULL, NULL
      FROM pgbaton.calls AS c
     WHERE c.next_id IS NOT NULL
    UNION ALL
    SELECT h.id, h.pipeline, h.job_key, h.tenant, h.stage, h.state, h.attempt, h.failures, NULL, h.created_at, NULL,
           h.created_at, h.ended_at, h.run
      FROM pgbaton.history AS h
     WHERE h.state IS NOT NULL;

-- One row for each call of a stage.
CREATE OR REPLACE VIEW pgbaton.attempts AS
    SELECT h.id AS dispatch_id, h.attempt, coalesce(w.name, h.worker::text) AS worker, h.started_at,
           h.ended_at AS finished_at, h.outcome, h.http_status, h.error, h.answer
      FROM pgbaton.history AS h
      LEFT JOIN pgbaton.workers AS w ON w.id = h.worker
     WHERE h.called
    UNION ALL
    SELECT c.id, c.attempt, coalesce(w.name, c.worker::text), c.started_at, done.at,
           CASE WHEN done.at IS NOT NULL THEN 'completed' ELSE c.outcome END, c.http_status, c.error, c.answer
      FROM pgbaton.calls AS c
      LEFT JOIN pgbaton.workers AS w ON w.id = c.worker
      LEFT JOIN LATERAL (
            SELECT min(d.created_at) AS at FROM pgbaton.due AS d
             WHERE d.job_key = c.job_key AND d.pipeline = c.pipeline AND d.id > c.id
               AND d.step = c.stage AND d.status = 'done'
           ) AS done ON true
     WHERE c.due_at IS NULL;

-- The owner grants a role what it needs (docs/deployment.md).
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgbaton FROM PUBLIC;
