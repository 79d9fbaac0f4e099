-- Workers wanted: how many calls of each stage should be under way now, and so how many workers a group of them needs. KEDA or a
-- script starts and stops workers by this number, also while no worker runs: it needs none, and no notification.
--
-- It takes none of the locks that a claim takes, and costs the same with a thousand waiting and with a million: at most 10,000
-- duties and 10,000 calls of a stage are counted, and the others are estimated from the ids and the table's statistics.

-- How many of a stage's duties may be called within ``ahead``. Where more than ``counted`` are there, the others are taken to be
-- as the counted ones are; one at least, for a worker must come to put off those that are not to be called yet.
CREATE OR REPLACE FUNCTION pgbaton.duties_of(for_pipeline text, for_stage text, at timestamptz, ahead interval, counted integer)
RETURNS bigint LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    seen bigint;
    ready bigint;
    reached bigint;
    newest bigint;
    rows float8;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE d.not_before IS NULL OR d.not_before <= at + ahead), max(d.id)
      INTO seen, ready, reached
      FROM (SELECT o.id, o.not_before FROM pgbaton.due AS o
             WHERE o.pipeline = for_pipeline AND o.stage = for_stage ORDER BY o.id LIMIT counted) AS d;
    IF seen < counted THEN
        RETURN ready;
    END IF;
    SELECT o.id INTO newest FROM pgbaton.due AS o
     WHERE o.pipeline = for_pipeline AND o.stage = for_stage ORDER BY o.id DESC LIMIT 1;
    SELECT c.reltuples INTO rows FROM pg_class AS c WHERE c.oid = 'pgbaton.due'::regclass;
    RETURN greatest(ready * (1 + greatest(least(newest - reached, rows - seen), 0) / seen), 1)::bigint;
END
$fn$;

-- How many more calls the tenants of a stage may begin, counted up to ``most``. A tenant without a limit counts with all its
-- waiting jobs; a tenant with several provider's accounts counts once for each. 200 lanes are looked at, as by a claim.
CREATE OR REPLACE FUNCTION pgbaton.room_of_lanes(s pgbaton.stages, at timestamptz, most integer) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    of_calls boolean;
    here text;
    l record;
    own record;
    found integer := 0;
BEGIN
    FOREACH of_calls IN ARRAY ARRAY[false, true] LOOP
        here := '';
        FOR steps IN 1 .. 200 LOOP
            l := pgbaton.next_lane(s, of_calls, here);
            EXIT WHEN l.lane IS NULL OR found >= most;
            own := pgbaton.room_of_lane(s, l.tenant, l.account, l.tier, '{}', at);
            found := found + CASE WHEN own.room <= 0 THEN 0 ELSE
                pgbaton.waits_in(s, of_calls, l.lane, least(most - found, own.room), at) END;
            here := l.lane || chr(1);
        END LOOP;
    END LOOP;
    RETURN found;
END
$fn$;

-- For each stage (for_stages null: all): jobs that wait, calls that workers hold, seconds that a call takes, and how many calls
-- should be under way so that the waiting ones begin within ``within`` seconds, as far as limits let them. kept_by: the limit
-- that decides the number. per_worker: calls that a worker makes at once. A last row with stage '' stands for the work of any
-- worker of the pipeline (passages, looks, calls that were lost or are past their time); it asks for one worker where none is
-- alive. No row: the database is a copy, or every number is 0. Raises invalid_parameter_value.
CREATE OR REPLACE FUNCTION pgbaton.calls_wanted(for_pipeline text, for_stages text[], per_worker integer, within float8)
RETURNS TABLE (stage text, waiting bigint, under_way integer, takes float8, calls integer, kept_by text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    counted constant integer := 10000;           -- duties, and calls, of a stage that are counted
    ahead constant interval := '30 s';           -- what is due so soon is counted: a worker may need that long to start
    begins_a_second constant float8 := 1000;     -- calls that one worker begins in a second; 2,700 were measured on two cores
    looked_back constant integer := 1000;        -- attempts that tell how long calls take now
    at constant timestamptz := clock_timestamp();
    p pgbaton.pipelines;
    s pgbaton.stages;
    o pgbaton.pools;
    held jsonb;    -- calls that workers said they hold, by stage
    lately jsonb;  -- mean seconds of the newest attempts, by stage
    taken jsonb := '{}';
    backlog integer;
    room integer;
BEGIN
    SELECT * INTO p FROM pgbaton.pipelines AS n WHERE n.name = for_pipeline;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no pipeline % in this database; there are: %', for_pipeline,
            (SELECT coalesce(string_agg(n.name, ', ' ORDER BY n.name), 'none') FROM pgbaton.pipelines AS n)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'pgbaton attach --config FILE';
    ELSIF per_worker IS NULL OR per_worker < 1 OR within IS NULL OR NOT within BETWEEN 1 AND 86400 THEN
        RAISE EXCEPTION 'a worker makes one call at once at least, and what waits begins within 1 to 86400 seconds (given: %, %)',
            per_worker, within USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR stage IN SELECT n.step FROM unnest(for_stages) AS n (step)
                 EXCEPT SELECT st.step FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.kind = 'call'
    LOOP
        RAISE EXCEPTION 'the pipeline % has no stage %; there are: %', for_pipeline, stage,
            (SELECT string_agg(st.step, ', ' ORDER BY st.position) FROM pgbaton.stages AS st
              WHERE st.pipeline = for_pipeline AND st.kind = 'call') USING ERRCODE = 'invalid_parameter_value';
    END LOOP;
    IF NOT pgbaton.at_home(p) THEN
        RETURN;  -- a copy: no worker of it would claim
    END IF;
    SELECT jsonb_object_agg(n.step, n.calls) INTO held
      FROM (SELECT h.key AS step, sum(h.value::integer) AS calls
              FROM pgbaton.workers AS w CROSS JOIN LATERAL jsonb_each_text(w.under_way) AS h
             WHERE w.pipeline = for_pipeline AND w.ended_at IS NULL GROUP BY h.key) AS n;
    SELECT jsonb_object_agg(n.stage, n.took) INTO lately
      FROM (SELECT h.stage, avg(extract(epoch FROM h.ended_at - h.started_at)) AS took
              FROM (SELECT * FROM pgbaton.history ORDER BY ended_at DESC LIMIT looked_back) AS h
             WHERE h.pipeline = for_pipeline AND h.called GROUP BY h.stage) AS n;
    FOR s IN SELECT * FROM pgbaton.stages AS st
              WHERE st.pipeline = for_pipeline AND st.routed AND st.kind = 'call'
                AND (for_stages IS NULL OR st.step = ANY (for_stages))
              ORDER BY st.position DESC
    LOOP
        stage := s.step;
        under_way := coalesce((held ->> s.step)::integer, 0);
        waiting := pgbaton.duties_of(for_pipeline, s.step, at, ahead, counted)
                 + (SELECT count(*) FROM (SELECT FROM pgbaton.calls AS c
                                           WHERE c.pipeline = for_pipeline AND c.waits_for = s.step AND c.due_at <= at + ahead
                                           LIMIT counted) AS n);
        takes := coalesce((lately ->> s.step)::float8,
            (SELECT t.p50 FROM pgbaton.throughput AS t
              WHERE t.pipeline = for_pipeline AND t.kind = 'all' AND t.hour > at - interval '7 days' AND t.tenant = ''
                AND t.stage = s.step
                AND t.p50 IS NOT NULL ORDER BY t.hour DESC LIMIT 1),
            least(extract(epoch FROM s.timeout), within));  -- nothing has ended yet
        -- A short call keeps its worker busy for longer than itself: a worker begins only so many in a second.
        backlog := least(waiting, ceil(waiting * greatest(takes, per_worker / begins_a_second) / within), 1000000)::integer;
        calls := backlog;
        kept_by := NULL;
        IF p.paused_at IS NOT NULL OR s.paused_at IS NOT NULL THEN
            calls := 0; kept_by := 'paused';
        ELSIF s.strikes > 0 OR s.open_until > at OR s.held_until > at THEN  -- one worker probes whether it may be called again
            calls := least(calls, (under_way = 0)::integer); kept_by := 'down';
        ELSIF backlog > 0 THEN
            IF num_nonnulls(s.concurrency, s.ceiling) > 0 THEN
                room := greatest(0, least(s.concurrency, floor(s.ceiling)::integer) - (
                    SELECT count(*) FROM pgbaton.calls AS c WHERE c.pipeline = for_pipeline AND c.slot = s.step)::integer);
                IF room < calls THEN
                    calls := room; kept_by := 'concurrency';
                END IF;
            END IF;
            IF s.rate IS NOT NULL THEN  -- so many begin in a second, and last for so long
                room := greatest(ceil(least(s.rate * takes, 1000000))::integer, 1) - under_way;
                IF room < calls THEN
                    calls := greatest(room, 0); kept_by := 'rate';
                END IF;
            END IF;
            IF s.takes_turns THEN
                room := pgbaton.room_of_lanes(s, at + ahead, least(calls, counted));
                IF room < least(calls, counted) THEN
                    calls := room; kept_by := 'tenants';
                END IF;
            END IF;
            IF s.pool IS NOT NULL THEN
                SELECT * INTO o FROM pgbaton.pools AS n WHERE n.name = s.pool;
                room := greatest(0, (o.size - pgbaton.pool_use(s.pool) - coalesce((taken ->> s.pool)::integer, 0)) / s.cost);
                IF room < calls THEN
                    calls := room; kept_by := 'pool';
                END IF;
                taken := taken || jsonb_build_object(s.pool, coalesce((taken ->> s.pool)::integer, 0) + calls * s.cost);
            END IF;
        END IF;
        calls := calls + under_way;
        IF waiting > 0 OR calls > 0 THEN
            RETURN NEXT;
        END IF;
    END LOOP;
    stage := ''; waiting := 1; under_way := 0; takes := 0; calls := 1; kept_by := NULL;
    IF NOT EXISTS (SELECT FROM pgbaton.workers AS w
                    WHERE w.pipeline = for_pipeline AND w.ended_at IS NULL AND NOT w.draining AND pgbaton.alive(w))
       AND (EXISTS (SELECT FROM pgbaton.due AS d WHERE d.pipeline = for_pipeline AND d.stage = '')
            OR EXISTS (SELECT FROM pgbaton.stages AS st
                        WHERE st.pipeline = for_pipeline AND st.routed AND st.kind <> 'call'
                          AND (EXISTS (SELECT FROM pgbaton.due AS d WHERE d.pipeline = for_pipeline AND d.stage = st.step)
                               OR EXISTS (SELECT FROM pgbaton.calls AS c
                                           WHERE c.pipeline = for_pipeline AND c.waits_for = st.step AND c.due_at <= at + ahead)))
            OR EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = for_pipeline AND c.deadline <= at)
            OR EXISTS (SELECT FROM pgbaton.paused_tenants AS t WHERE t.pipeline = for_pipeline AND t.resumed_at IS NOT NULL))
    THEN
        RETURN NEXT;
    END IF;
END
$fn$;

-- The same as one number: workers of ``per_worker`` calls at once.
CREATE OR REPLACE FUNCTION pgbaton.workers_wanted(for_pipeline text, for_stages text[], per_worker integer,
                                                  within float8) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce(ceil(sum(w.calls)::float8 / per_worker), 0)::integer
      FROM pgbaton.calls_wanted(for_pipeline, for_stages, per_worker, within) AS w
$fn$;

