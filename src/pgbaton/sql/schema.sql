-- The schema pgbaton after every migration, as pg_dump writes it. For reading; made by `make schema`.

CREATE SCHEMA pgbaton;

CREATE FUNCTION pgbaton.absorb_job(job_pipeline text, key text, job_tenant text, now_step text, now_status text, newest timestamp with time zone, entered text[], entered_at timestamp with time zone[]) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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
$$;

CREATE FUNCTION pgbaton.backoff(failures integer) RETURNS interval
    LANGUAGE sql
    AS $$ SELECT make_interval(secs => random() * least(300, power(2, least(failures, 20) - 1))) $$;

CREATE FUNCTION pgbaton.cancel_open(job_pipeline text, keys text[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
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
$$;

CREATE FUNCTION pgbaton.claim(for_pipeline text, for_worker bigint, known_stages text[], how_many integer, reach double precision[] DEFAULT NULL::double precision[]) RETURNS TABLE(id bigint, job_key text, stage text, attempt integer, probing boolean, traceparent text, waited double precision)
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
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
$$;

CREATE FUNCTION pgbaton.error_group(error text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT left(regexp_replace(regexp_replace(left(coalesce(error, ''), 500),
                    '\m[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}\M|\m[0-9a-fA-F]{16,}\M', '…', 'g'),
                    '(?<!HTTP )\m[0-9]+([.,:][0-9]+)*', '…', 'g'), 200)
$$;

CREATE FUNCTION pgbaton.event_payload(job_id text, step text, status text, tenant text, updated_at timestamp with time zone) RETURNS text
    LANGUAGE plpgsql STABLE
    AS $$
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
$$;

CREATE FUNCTION pgbaton.forget(job_pipeline text, keys text[]) RETURNS text[]
    LANGUAGE plpgsql
    AS $_$
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
$_$;

CREATE FUNCTION pgbaton.job_changed(job_pipeline text, key text, job_tenant text, new_step text, new_status text, changed_at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pgbaton.job_changed(job_pipeline, (SELECT p.channel FROM pgbaton.pipelines p WHERE p.name = job_pipeline),
                                key, job_tenant, new_step, new_status, changed_at);
END
$$;

CREATE FUNCTION pgbaton.job_changed(job_pipeline text, publish_to text, key text, job_tenant text, new_step text, new_status text, changed_at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
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
$$;

CREATE FUNCTION pgbaton.jobs_gone(job_pipeline text, keys text[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    isolation constant text := current_setting('transaction_isolation');
BEGIN
    IF isolation IN ('read committed', 'read uncommitted') THEN
        PERFORM pgbaton.cancel_open(job_pipeline, keys);
    ELSE
        INSERT INTO pgbaton.changes (pipeline, job_key) SELECT job_pipeline, unnest(keys);
    END IF;
END
$$;

CREATE FUNCTION pgbaton.jobs_truncated(job_pipeline text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        PERFORM pgbaton.cancel_open(job_pipeline, ARRAY(
            SELECT d.job_key FROM ONLY pgbaton.dispatches d
             WHERE d.pipeline = job_pipeline AND d.state IN ('available', 'running', 'retryable')));
    END IF;
END
$$;

CREATE FUNCTION pgbaton.keep_settled() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
BEGIN
    DELETE FROM ONLY pgbaton.dispatches d WHERE d.id = NEW.id;
    IF FOUND THEN
        INSERT INTO pgbaton.settled SELECT NEW.*;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION pgbaton.last_dispatch_before(moment timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql STABLE
    AS $$
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
$$;

CREATE FUNCTION pgbaton.nobody_sleeps(for_pipeline text) RETURNS boolean
    LANGUAGE sql
    AS $$ SELECT pg_try_advisory_xact_lock_shared(72394502, hashtext(for_pipeline)) $$;

CREATE FUNCTION pgbaton.parked() RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT timestamptz '9999-01-01 00:00:00+00' $$;

CREATE FUNCTION pgbaton.settle_and_create(job_pipeline text, key text, job_tenant text, new_step text, new_status text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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
$$;

CREATE FUNCTION pgbaton.state_after_failure(failures integer, attempts integer) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$ SELECT CASE WHEN failures < attempts THEN 'retryable' ELSE 'dead' END $$;

CREATE FUNCTION pgbaton.traceparent(parent text) RETURNS text
    LANGUAGE sql
    AS $$
    SELECT coalesce(left(parent, 36), '00-' || replace(gen_random_uuid()::text, '-', '') || '-')
           || left(md5(concat(parent, random())), 16) || '-01'
$$;

CREATE TABLE pgbaton.attempts (
    dispatch_id bigint NOT NULL,
    attempt integer NOT NULL,
    worker text NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    outcome text,
    http_status integer,
    error text,
    answer text
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_cost_delay='0');

COMMENT ON COLUMN pgbaton.attempts.answer IS 'the beginning of the answer''s body, as far as the workers'' setting lets it be kept';

CREATE TABLE pgbaton.audit (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    who text NOT NULL,
    action text NOT NULL,
    pipeline text NOT NULL,
    stage text,
    tenant text,
    job_key text,
    jobs integer DEFAULT 0 NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL
);

ALTER TABLE pgbaton.audit ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgbaton.audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE pgbaton.changes (
    id bigint NOT NULL,
    pipeline text NOT NULL,
    job_key text NOT NULL,
    step text,
    status text,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE pgbaton.changes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgbaton.changes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE pgbaton.dispatches (
    id bigint NOT NULL,
    pipeline text NOT NULL,
    job_key text NOT NULL,
    tenant text,
    stage text NOT NULL,
    state text DEFAULT 'available'::text NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    worker bigint,
    available_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    deadline timestamp with time zone,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    settled_at timestamp with time zone,
    traceparent text DEFAULT pgbaton.traceparent(NULL::text)
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_cost_delay='0');

COMMENT ON COLUMN pgbaton.dispatches.attempt IS 'calls begun so far; with the id it names the attempt that may settle';

COMMENT ON COLUMN pgbaton.dispatches.failures IS 'attempts that count against the stage''s limit';

COMMENT ON COLUMN pgbaton.dispatches.worker IS 'the lease holder; null while running: the stage works on, until deadline';

COMMENT ON COLUMN pgbaton.dispatches.traceparent IS 'the W3C trace context of this hop; all hops of one run are one trace';

ALTER TABLE pgbaton.dispatches ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgbaton.dispatches_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE pgbaton.migrations (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE pgbaton.paused_tenants (
    pipeline text NOT NULL,
    tenant text NOT NULL,
    paused_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    resumed_at timestamp with time zone
);

COMMENT ON COLUMN pgbaton.paused_tenants.resumed_at IS 'set: not paused any more; the row stays until everything that was parked is due again';

CREATE TABLE pgbaton.pipelines (
    name text NOT NULL,
    job_table regclass NOT NULL,
    key_column text NOT NULL,
    tenant_column text,
    step_column text NOT NULL,
    status_column text NOT NULL,
    channel text,
    paused_at timestamp with time zone,
    attached_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON COLUMN pgbaton.pipelines.channel IS 'every change is published there; null: workers are woken by pgbaton_wake only';

CREATE TABLE pgbaton.settled (
)
INHERITS (pgbaton.dispatches)
WITH (autovacuum_vacuum_scale_factor='0.05');

COMMENT ON TABLE pgbaton.settled IS 'dispatches that are completed, dead or cancelled';

CREATE TABLE pgbaton.stages (
    pipeline text NOT NULL,
    step text NOT NULL,
    after text NOT NULL,
    "position" integer NOT NULL,
    timeout interval NOT NULL,
    attempts integer NOT NULL,
    concurrency integer,
    routed boolean DEFAULT true NOT NULL,
    paused_at timestamp with time zone,
    strikes integer DEFAULT 0 NOT NULL,
    open_until timestamp with time zone,
    CONSTRAINT stages_attempts_check CHECK ((attempts >= 1)),
    CONSTRAINT stages_concurrency_check CHECK ((concurrency >= 1))
);

COMMENT ON COLUMN pgbaton.stages.routed IS 'false: the stage left the pipeline; its open dispatches wait until it comes back';

COMMENT ON COLUMN pgbaton.stages.strikes IS 'times in a row that the stage was found down; above 0: one probe at a time';

COMMENT ON COLUMN pgbaton.stages.open_until IS 'until then nobody calls the stage';

CREATE TABLE pgbaton.workers (
    id bigint NOT NULL,
    pipeline text NOT NULL,
    name text NOT NULL,
    capacity integer NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    renewed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    draining boolean DEFAULT false NOT NULL
);

ALTER TABLE pgbaton.workers ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgbaton.workers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY pgbaton.settled ALTER COLUMN state SET DEFAULT 'available'::text;

ALTER TABLE ONLY pgbaton.settled ALTER COLUMN attempt SET DEFAULT 0;

ALTER TABLE ONLY pgbaton.settled ALTER COLUMN failures SET DEFAULT 0;

ALTER TABLE ONLY pgbaton.settled ALTER COLUMN available_at SET DEFAULT clock_timestamp();

ALTER TABLE ONLY pgbaton.settled ALTER COLUMN created_at SET DEFAULT clock_timestamp();

ALTER TABLE ONLY pgbaton.settled ALTER COLUMN traceparent SET DEFAULT pgbaton.traceparent(NULL::text);

ALTER TABLE ONLY pgbaton.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (dispatch_id, attempt);

ALTER TABLE ONLY pgbaton.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);

ALTER TABLE ONLY pgbaton.changes
    ADD CONSTRAINT changes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY pgbaton.dispatches
    ADD CONSTRAINT dispatches_pkey PRIMARY KEY (id);

ALTER TABLE ONLY pgbaton.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY pgbaton.paused_tenants
    ADD CONSTRAINT paused_tenants_pkey PRIMARY KEY (pipeline, tenant);

ALTER TABLE ONLY pgbaton.pipelines
    ADD CONSTRAINT pipelines_job_table_key UNIQUE (job_table);

ALTER TABLE ONLY pgbaton.pipelines
    ADD CONSTRAINT pipelines_pkey PRIMARY KEY (name);

ALTER TABLE ONLY pgbaton.settled
    ADD CONSTRAINT settled_pkey PRIMARY KEY (id);

ALTER TABLE ONLY pgbaton.stages
    ADD CONSTRAINT stages_pkey PRIMARY KEY (pipeline, step);

ALTER TABLE ONLY pgbaton.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

CREATE INDEX attempts_failed ON pgbaton.attempts USING btree (dispatch_id, attempt) WHERE (error IS NOT NULL);

CREATE INDEX dispatches_due ON pgbaton.dispatches USING btree (pipeline, stage, available_at, id) WHERE (state = ANY (ARRAY['available'::text, 'retryable'::text]));

CREATE UNIQUE INDEX dispatches_one_open ON pgbaton.dispatches USING btree (job_key text_pattern_ops, pipeline);

CREATE INDEX dispatches_running ON pgbaton.dispatches USING btree (pipeline, stage, worker) WHERE (state = 'running'::text);

CREATE INDEX dispatches_troubled ON pgbaton.dispatches USING btree (pipeline, stage, state, id) WHERE (state = ANY (ARRAY['retryable'::text, 'dead'::text, 'cancelled'::text]));

CREATE INDEX settled_lately ON pgbaton.settled USING btree (settled_at);

CREATE INDEX settled_of_job ON pgbaton.settled USING btree (job_key text_pattern_ops, id);

CREATE INDEX settled_of_tenant ON pgbaton.settled USING btree (pipeline, "left"(tenant, 64), id) WHERE (tenant IS NOT NULL);

CREATE INDEX settled_troubled ON pgbaton.settled USING btree (pipeline, stage, state, id) WHERE (state = ANY (ARRAY['retryable'::text, 'dead'::text, 'cancelled'::text]));

CREATE INDEX settled_troubled_newest ON pgbaton.settled USING btree (pipeline, id, state) WHERE (state = ANY (ARRAY['retryable'::text, 'dead'::text, 'cancelled'::text]));

CREATE UNIQUE INDEX stages_one_route_per_state ON pgbaton.stages USING btree (pipeline, after) WHERE routed;

CREATE TRIGGER keep_settled AFTER INSERT OR UPDATE ON pgbaton.dispatches FOR EACH ROW WHEN ((new.settled_at IS NOT NULL)) EXECUTE FUNCTION pgbaton.keep_settled();

ALTER TABLE ONLY pgbaton.paused_tenants
    ADD CONSTRAINT paused_tenants_pipeline_fkey FOREIGN KEY (pipeline) REFERENCES pgbaton.pipelines(name) ON DELETE CASCADE;

ALTER TABLE ONLY pgbaton.stages
    ADD CONSTRAINT stages_pipeline_fkey FOREIGN KEY (pipeline) REFERENCES pgbaton.pipelines(name) ON DELETE CASCADE;
