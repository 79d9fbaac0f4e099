-- Admission: for which jobs stages are called next, in a pipeline where something limits or orders the calls
-- (pgbaton.stages.governed). A pipeline without limits and order never comes here.
--
-- A claim (admitted/) asks pgbaton.admit() and takes what it was granted, in one statement. The rows that admit()
-- locks stay locked until that statement commits: pools by name, then stages from the last to the first. All
-- counting is done behind those locks (limits.sql), so no two claims count the same free place. A call counts by its row in
-- pgbaton.calls (slot): from the commit of its claim until it waits again or is gone, also while its worker is lost.
--
-- Between tenants: turns. The claim walks the lanes that have something waiting, one index descent each, from the one that
-- was served last; a lane gets as many calls as its tenant's weight, then the next one. Tenants at their limit are stepped over,
-- however much they have waiting. Within a lane: by rank, which is the time of the duty moved by its priority.
--
-- *free* is how many calls this claim may still make at a stage, *places* are what is left of pools.

-- How much waits for the stage, whatever its lane, and may be called at ``at``; counted up to ``most``.
CREATE OR REPLACE FUNCTION pgbaton.count_waiting(for_pipeline text, for_stage text, of_calls boolean, most integer, at timestamptz)
RETURNS integer LANGUAGE sql STABLE
AS $fn$
    SELECT count(*)::integer FROM (
        SELECT FROM pgbaton.due AS d WHERE NOT of_calls AND d.pipeline = for_pipeline AND d.stage = for_stage
        UNION ALL
        SELECT FROM pgbaton.calls AS c WHERE of_calls AND c.pipeline = for_pipeline AND c.waits_for = for_stage AND c.due_at <= at
        LIMIT most) AS n
$fn$;

-- The jobs that wait for stages at which tenants take turns: duties, and (again) calls that wait to be called again, from due_at on.
CREATE OR REPLACE VIEW pgbaton.in_turn AS
    SELECT false AS again, d.pipeline, d.stage, pgbaton.lane(d.tenant, d.account) COLLATE "C" AS lane,
           coalesce(d.tenant, '') AS tenant, d.account, d.tier, timestamptz '-infinity' AS due_at
      FROM pgbaton.due AS d
     WHERE d.rank IS NOT NULL
    UNION ALL
    SELECT true, c.pipeline, c.waits_for, pgbaton.lane(c.tenant, c.account) COLLATE "C",
           coalesce(c.tenant, ''), c.account, c.tier, c.due_at
      FROM pgbaton.calls AS c
     WHERE c.due_at IS NOT NULL;

-- The walk along the lanes that have something waiting for the stage, once around from ``origin``, whose lane has had ``used``
-- calls of its turn. It ends where ``free`` calls are found within one turn of each lane, or after ``most`` lanes. waits: how many jobs of the lane may be called, counted up to ``free``; begun: calls of its turn that it has
-- had; in_turn: calls in one turn of this lane and those before it. given: calls that this walk has found for the tenant's other
-- lanes ("t…") and the account's ("a…"), where a lane is not a tenant: no place is given twice.
CREATE OR REPLACE FUNCTION pgbaton.lanes(s pgbaton.stages, of_calls boolean, origin text, used integer, free integer, most integer, at timestamptz)
RETURNS TABLE (nth integer, lane text, waits integer, weight integer, begun integer, rate float8, room_in float8, in_turn integer)
LANGUAGE plpgsql STABLE
AS $fn$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE walk AS (
        SELECT 0 AS nth, NULL::text COLLATE "C" AS lane, origin COLLATE "C" AS behind, false AS wrapped, 0 AS waits, 1 AS weight,
               0 AS begun, NULL::float8 AS rate, NULL::float8 AS room_in, 0 AS in_turn, '{}'::jsonb AS given
        UNION ALL
        SELECT w.nth + 1, l.lane, l.lane || chr(1), l.wrapped,  -- no lane lies between x and x || chr(1)
               here.waits, own.weight, turn.begun, own.rate, least(own.room_in, theirs.room_in),
               w.in_turn + least(here.waits, own.weight - turn.begun),
               CASE WHEN l.account IS NULL OR here.waits = 0 THEN w.given
                    ELSE w.given || jsonb_build_object('t' || l.tenant, coalesce(had.by_tenant, 0) + here.waits,
                                                       'a' || l.account, coalesce(had.by_account, 0) + here.waits) END
          FROM walk AS w
         CROSS JOIN LATERAL (
                SELECT * FROM (SELECT o.lane, o.tenant, o.account, o.tier, w.wrapped FROM pgbaton.in_turn AS o
                                WHERE o.again = of_calls AND o.pipeline = s.pipeline AND o.stage = s.step AND o.lane >= w.behind
                                ORDER BY o.lane LIMIT 1) AS further
                UNION ALL
                SELECT * FROM (SELECT o.lane, o.tenant, o.account, o.tier, true FROM pgbaton.in_turn AS o
                                WHERE o.again = of_calls AND o.pipeline = s.pipeline AND o.stage = s.step AND NOT w.wrapped
                                ORDER BY o.lane LIMIT 1) AS first
                LIMIT 1) AS l
         CROSS JOIN LATERAL pgbaton.room_of_tenant(s, l.tenant, l.tier, at) AS own
          LEFT JOIN LATERAL pgbaton.room_of_account(s, l.account, at) AS theirs ON true
         CROSS JOIN LATERAL (
                SELECT CASE WHEN l.account IS NOT NULL THEN (w.given ->> ('t' || l.tenant))::integer END AS by_tenant,
                       CASE WHEN l.account IS NOT NULL THEN (w.given ->> ('a' || l.account))::integer END AS by_account) AS had
         CROSS JOIN LATERAL (
                SELECT count(*)::integer AS waits FROM (
                    SELECT FROM pgbaton.in_turn AS o
                     WHERE o.again = of_calls AND o.pipeline = s.pipeline AND o.stage = s.step AND o.lane = l.lane AND o.due_at <= at
                     LIMIT greatest(0, least(free, own.room - coalesce(had.by_tenant, 0), theirs.room - coalesce(had.by_account, 0)))) AS n) AS here
         CROSS JOIN LATERAL (
                SELECT CASE WHEN l.lane = origin AND used < own.weight AND here.waits > 0 THEN used ELSE 0 END AS begun) AS turn
         WHERE w.nth < most AND w.in_turn < free AND (NOT l.wrapped OR l.lane < origin COLLATE "C")
    )
    SELECT w.nth, w.lane, w.waits, w.weight, w.begun, w.rate, w.room_in, w.in_turn FROM walk AS w WHERE w.nth > 0;
END
$fn$;

-- Grants ``free`` calls of the stage to its lanes in turns, and writes down whose turn was the last. The last row (lane null):
-- how many seconds until it is worth asking again, where a lane's own limit says that.
CREATE OR REPLACE FUNCTION pgbaton.share_out(s pgbaton.stages, of_calls boolean, free integer, at timestamptz)
RETURNS TABLE (lane text, may integer, rate float8, room_in float8)
LANGUAGE plpgsql
AS $fn$
#variable_conflict use_column
DECLARE
    most constant integer := 200;  -- lanes that one claim looks at under the stage's lock: 5 ms
    t pgbaton.turns;
    l record;
    granted integer := 0;
    soonest float8;
    last text;
    used integer;
    furthest text;
BEGIN
    SELECT * INTO t FROM pgbaton.turns AS o WHERE o.pipeline = s.pipeline AND o.stage = s.step AND o.again = of_calls;
    FOR l IN
        WITH walked AS MATERIALIZED (
            SELECT * FROM pgbaton.lanes(s, of_calls, CASE WHEN t.used > 0 THEN t.lane ELSE coalesce(t.lane || chr(1), '') END,
                                        coalesce(t.used, 0), free, most, at)
        ), call AS (
            -- Where one turn of each lane is enough, no lane has a second one.
            SELECT w.nth, i.i, (i.i - 1 + w.begun) / w.weight AS round
              FROM walked AS w
             CROSS JOIN LATERAL generate_series(1, CASE WHEN (SELECT max(o.in_turn) FROM walked AS o) >= free
                                                        THEN least(w.waits, w.weight) ELSE w.waits END) AS i (i)
             ORDER BY (i.i - 1 + w.begun) / w.weight, w.nth, i.i
             LIMIT free
        )
        SELECT w.nth, w.lane, w.rate, w.room_in, w.weight, count(c.i)::integer AS may, max(c.i) + w.begun AS had
          FROM walked AS w LEFT JOIN call AS c ON c.nth = w.nth
         GROUP BY w.nth, w.lane, w.rate, w.room_in, w.weight, w.begun
         ORDER BY max(c.round) NULLS FIRST, w.nth
    LOOP
        soonest := least(soonest, l.room_in);
        IF l.nth = most THEN
            furthest := l.lane;
        END IF;
        IF l.may > 0 THEN
            granted := granted + l.may; last := l.lane;
            used := l.had % l.weight;  -- 0: its turn is over
            lane := l.lane; may := l.may; rate := l.rate;
            RETURN NEXT;
        END IF;
    END LOOP;
    IF furthest IS NOT NULL THEN  -- there are more lanes than one claim looks at: the next claim goes on from here
        last := furthest; used := 0;
        soonest := CASE WHEN granted < free THEN 0 ELSE soonest END;
    END IF;
    IF (last, used) IS DISTINCT FROM (t.lane, t.used) AND last IS NOT NULL THEN
        INSERT INTO pgbaton.turns AS o (pipeline, stage, again, lane, used) VALUES (s.pipeline, s.step, of_calls, last, used)
        ON CONFLICT (pipeline, stage, again) DO UPDATE SET lane = EXCLUDED.lane, used = EXCLUDED.used;
    END IF;
    lane := NULL; may := 0; rate := NULL; room_in := soonest;
    RETURN NEXT;
END
$fn$;

-- Calls that wait to be called again and duties take turns, too: where both are there, each gets half of the places.
CREATE OR REPLACE FUNCTION pgbaton.half_of_calls(s pgbaton.stages, free integer) RETURNS integer
LANGUAGE plpgsql
AS $fn$
DECLARE
    goes_first boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM pgbaton.due AS d WHERE d.pipeline = s.pipeline AND d.stage = s.step) THEN
        RETURN free;
    END IF;
    INSERT INTO pgbaton.turns AS o (pipeline, stage, again) VALUES (s.pipeline, s.step, true)
    ON CONFLICT (pipeline, stage, again) DO UPDATE SET odd = NOT o.odd RETURNING o.odd INTO goes_first;
    RETURN (free + goes_first::integer) / 2;
END
$fn$;

-- The calls that may be made now: for each stage (and lane, where tenants take turns there; else lane is null) how many.
-- of_calls: calls that wait to be called again; else duties. calling false: duties are only to be named, as they come.
-- moment: the time to go by, for a simulation; null: now. rate, lane_rate: calls a second, which the claim pays for in
-- pgbaton.spent, at the time ``at``. may 0: something waits for the stage, and is worth another claim in blocked_in seconds.
-- Raises as check_claim().
CREATE OR REPLACE FUNCTION pgbaton.admit(for_pipeline text, for_worker bigint, known text[], entries text[], statuses text[],
                                         since bigint[], how_many integer, calling boolean, of_calls boolean, moment timestamptz)
RETURNS TABLE (stage text, entry text, entry_status text, first_id bigint, lane text, may integer, limited boolean,
               probing boolean, rate float8, lane_rate float8, at timestamptz, blocked_in float8)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    look_again constant float8 := 0.25;  -- seconds until a place that another worker's call frees is looked for
    asked text[];       -- the stages that something waits for, the last first
    shared text[];      -- their pools
    places jsonb;       -- what these have left
    its_step text;
    s pgbaton.stages;
    p pgbaton.pools;
    whole record;
    g record;
    left_over integer := how_many;
    free integer;
    granted integer;
BEGIN
    PERFORM pgbaton.check_claim(for_pipeline, for_worker);
    at := coalesce(moment, clock_timestamp());
    IF NOT calling THEN
        RETURN QUERY SELECT n.step, n.entry, n.status, 0::bigint, NULL::text, how_many, false, false, NULL::float8, NULL::float8, at, NULL::float8
                       FROM unnest(known, entries, statuses) AS n (step, entry, status)
                       JOIN pgbaton.stages AS st ON st.pipeline = for_pipeline AND st.step = n.step
                      WHERE how_many > 0
                      ORDER BY st.position DESC;
        RETURN;
    END IF;
    SELECT array_agg(st.step ORDER BY st.position DESC), array_agg(st.pool) FILTER (WHERE st.pool IS NOT NULL) INTO asked, shared
      FROM unnest(known, entries, statuses) AS n (step, entry, status)
      JOIN pgbaton.stages AS st ON st.pipeline = for_pipeline AND st.step = n.step AND st.after = n.entry AND st.status = n.status
      JOIN pgbaton.pipelines AS o ON o.name = st.pipeline
     WHERE how_many > 0 AND st.routed AND st.paused_at IS NULL AND o.paused_at IS NULL
       AND CASE WHEN of_calls
                THEN EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = for_pipeline AND c.waits_for = st.step AND c.due_at <= at)
                ELSE EXISTS (SELECT FROM pgbaton.due AS d WHERE d.pipeline = for_pipeline AND d.stage = st.step) END;
    IF shared IS NOT NULL THEN
        -- Pools first, by name: a stage's lock may be waited for while a pool's is held, and never the other way.
        PERFORM FROM pgbaton.pools AS o WHERE o.name = ANY (shared) ORDER BY o.name FOR NO KEY UPDATE;
        SELECT jsonb_object_agg(o.name, o.size - pgbaton.pool_use(o.name)) INTO places FROM pgbaton.pools AS o WHERE o.name = ANY (shared);
    END IF;
    FOREACH its_step IN ARRAY coalesce(asked, '{}') LOOP  -- every worker locks them in this order
        EXIT WHEN left_over <= 0;
        SELECT * INTO s FROM pgbaton.stages AS st
         WHERE st.pipeline = for_pipeline AND st.step = its_step AND (st.governed OR st.concurrency IS NOT NULL OR st.strikes > 0)
           FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            SELECT * INTO s FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.step = its_step;
            CONTINUE WHEN s.governed OR s.concurrency IS NOT NULL OR s.strikes > 0;  -- since a moment ago
        END IF;
        at := coalesce(moment, clock_timestamp());
        CONTINUE WHEN s.paused_at IS NOT NULL OR s.open_until > at OR s.pool IS NOT NULL AND (places ? s.pool) IS NOT TRUE;
        limited := s.governed OR s.concurrency IS NOT NULL; probing := s.strikes > 0;
        stage := s.step; entry := s.after; entry_status := s.status; first_id := since[array_position(known, s.step)];
        rate := s.rate; lane_rate := NULL; lane := NULL;
        whole := pgbaton.room_of_stage(s, at);
        blocked_in := coalesce(whole.room_in, look_again);
        free := greatest(0, least(left_over, CASE WHEN probing THEN 1 END, whole.room));
        granted := 0;
        IF free > 0 AND s.pool IS NOT NULL THEN
            SELECT * INTO p FROM pgbaton.pools AS o WHERE o.name = s.pool;
            IF p.kept_until > at AND p.kept_for <> ARRAY[for_pipeline, s.step] THEN
                free := 0;
            ELSIF (places ->> s.pool)::integer >= s.cost THEN
                free := least(free, (places ->> s.pool)::integer / s.cost);
            ELSE
                free := 0;
                -- The pool is kept for a call that costs more than is free: else cheaper calls would take each place that comes
                -- free, and it would wait for ever.
                UPDATE pgbaton.pools AS o SET kept_for = ARRAY[for_pipeline, s.step], kept_until = at + interval '10 s'
                 WHERE o.name = s.pool AND s.cost > 1
                   AND (NOT s.takes_turns OR EXISTS (SELECT FROM pgbaton.lanes(s, of_calls, '', 0, 1, 200, at) AS l WHERE l.waits > 0));
            END IF;
        END IF;
        IF free > 0 AND s.takes_turns THEN
            IF of_calls THEN
                free := pgbaton.half_of_calls(s, free);
            END IF;
            FOR g IN SELECT * FROM pgbaton.share_out(s, of_calls, free, at) AS o LOOP
                blocked_in := least(blocked_in, g.room_in);
                IF g.may > 0 THEN
                    granted := granted + g.may;
                    lane := g.lane; may := g.may; lane_rate := g.rate;
                    RETURN NEXT;
                END IF;
            END LOOP;
        ELSIF free > 0 THEN
            granted := pgbaton.count_waiting(for_pipeline, s.step, of_calls, free, at);
            IF granted > 0 THEN
                may := granted;
                RETURN NEXT;
            END IF;
        END IF;
        IF granted > 0 AND s.pool IS NOT NULL THEN
            places := jsonb_set(places, ARRAY[s.pool], to_jsonb((places ->> s.pool)::integer - granted * s.cost));
            IF p.kept_until IS NOT NULL THEN
                UPDATE pgbaton.pools AS o SET kept_for = NULL, kept_until = NULL WHERE o.name = s.pool;
            END IF;
        END IF;
        left_over := left_over - granted;
        IF left_over > 0 AND limited THEN
            lane := NULL; may := 0;
            RETURN NEXT;
        END IF;
    END LOOP;
END
$fn$;

