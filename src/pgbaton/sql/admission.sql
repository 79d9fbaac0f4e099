-- Admission: for which jobs stages are called next, in a pipeline where something limits or orders the calls
-- (pgbaton.stages.governed). A pipeline without limits and order never comes here.
--
-- A claim (admitted/) asks pgbaton.admit() and takes what it was granted, in one statement. The rows that admit()
-- locks stay locked until that statement commits: pools by name, then stages from the last to the first. All
-- counting is done behind those locks, so no two claims count the same free place. A call counts by its row in
-- pgbaton.calls (slot): from the commit of its claim until it waits again or is gone, also while its worker is lost.
--
-- Between tenants: turns. The claim walks the lanes that have something waiting, one index descent each, from the one that
-- was served last; a tenant gets as many calls as its weight, then the next one. Tenants at their limit are stepped over,
-- however much they have waiting. Within a tenant: by rank, which is the time of the duty moved by its priority.

-- A tenant's jobs of one provider's account (pgbaton.stages.account) are a lane: its name is the tenant's, and behind the
-- character 0x1f, which triggers take out of accounts, the account's. Where a stage names no accounts, a lane is a tenant.

-- The next four have no search_path of their own: pgbaton.admit() and room_of_lanes() call them for each lane, under theirs.

-- The first lane, from ``from_lane`` on, that has something waiting for the stage: calls, or duties. null: none. The lane
-- after x is searched from x || chr(1): no lane lies between. tier: of one of its jobs.
CREATE OR REPLACE FUNCTION pgbaton.next_lane(for_pipeline text, for_stage text, of_calls boolean, from_lane text,
                                             OUT lane text, OUT tenant text, OUT account text, OUT tier text)
LANGUAGE plpgsql STABLE
AS $fn$
#variable_conflict use_column
BEGIN
    IF of_calls THEN
        SELECT (coalesce(c.tenant, '') || coalesce(E'\x1f' || c.account, '')) COLLATE "C", coalesce(c.tenant, ''), c.account, c.tier
          INTO lane, tenant, account, tier
          FROM pgbaton.calls AS c
         WHERE c.pipeline = for_pipeline AND c.waits_for = for_stage AND c.due_at IS NOT NULL
           AND (coalesce(c.tenant, '') || coalesce(E'\x1f' || c.account, '')) COLLATE "C" >= from_lane
         ORDER BY (coalesce(c.tenant, '') || coalesce(E'\x1f' || c.account, '')) COLLATE "C" LIMIT 1;
    ELSE
        SELECT (coalesce(d.tenant, '') || coalesce(E'\x1f' || d.account, '')) COLLATE "C", coalesce(d.tenant, ''), d.account, d.tier
          INTO lane, tenant, account, tier
          FROM pgbaton.due AS d
         WHERE d.pipeline = for_pipeline AND d.stage = for_stage AND d.rank IS NOT NULL
           AND (coalesce(d.tenant, '') || coalesce(E'\x1f' || d.account, '')) COLLATE "C" >= from_lane
         ORDER BY (coalesce(d.tenant, '') || coalesce(E'\x1f' || d.account, '')) COLLATE "C" LIMIT 1;
    END IF;
END
$fn$;

-- How much waits for the stage and may be called at ``at``, counted up to ``most``; in_lane null: in all lanes.
CREATE OR REPLACE FUNCTION pgbaton.waiting_in(for_pipeline text, for_stage text, of_calls boolean, in_lane text, most integer, at timestamptz)
RETURNS integer LANGUAGE plpgsql STABLE
AS $fn$
BEGIN
    IF of_calls AND in_lane IS NULL THEN
        RETURN (SELECT count(*) FROM (SELECT FROM pgbaton.calls AS c
                 WHERE c.pipeline = for_pipeline AND c.waits_for = for_stage AND c.due_at <= at LIMIT most) AS n);
    ELSIF of_calls THEN
        RETURN (SELECT count(*) FROM (SELECT FROM pgbaton.calls AS c
                 WHERE c.pipeline = for_pipeline AND c.waits_for = for_stage
                   AND (coalesce(c.tenant, '') || coalesce(E'\x1f' || c.account, '')) COLLATE "C" = in_lane
                   AND c.due_at <= at LIMIT most) AS n);
    ELSIF in_lane IS NULL THEN
        RETURN (SELECT count(*) FROM (SELECT FROM pgbaton.due AS d
                 WHERE d.pipeline = for_pipeline AND d.stage = for_stage LIMIT most) AS n);
    END IF;
    RETURN (SELECT count(*) FROM (SELECT FROM pgbaton.due AS d
             WHERE d.pipeline = for_pipeline AND d.stage = for_stage
               AND (coalesce(d.tenant, '') || coalesce(E'\x1f' || d.account, '')) COLLATE "C" = in_lane
               AND d.rank IS NOT NULL LIMIT most) AS n);
END
$fn$;

-- How many calls a rate lets begin at ``at``; null: any. A second's worth, and one at least, may begin at once; ``until`` is when
-- all that have begun are paid for.
CREATE OR REPLACE FUNCTION pgbaton.allowance(rate float8, until timestamptz, at timestamptz) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN rate IS NOT NULL THEN floor(
        greatest(rate, 1) - greatest(coalesce(extract(epoch FROM until - at), 0), 0)::float8 * rate + 1e-6)::integer END
$fn$;

-- Seconds from ``at`` until a rate lets the next call begin.
CREATE OR REPLACE FUNCTION pgbaton.allowed_in(rate float8, until timestamptz, at timestamptz) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT greatest(0, extract(epoch FROM until - at)::float8 - (greatest(rate, 1) - 1) / rate)
$fn$;

-- The calls that one tenant may still have at a stage: its own limit, its tier's or the stage's, its rate, and whether it is
-- paused. weight: its calls in one turn. room_in: seconds until its rate lets it have one, where that is what keeps it.
CREATE OR REPLACE FUNCTION pgbaton.room_of_tenant(s pgbaton.stages, of_tenant text, of_tier text, at timestamptz,
                                                  OUT room integer, OUT weight integer, OUT rate float8, OUT room_in float8)
LANGUAGE plpgsql STABLE
AS $fn$
DECLARE
    paid timestamptz;
BEGIN
    SELECT coalesce(t.weight, r.weight, 1), coalesce(t.rate_per_tenant, r.rate_per_tenant, s.rate_per_tenant),
           CASE WHEN EXISTS (SELECT FROM pgbaton.paused_tenants AS p
                              WHERE p.pipeline = s.pipeline AND p.tenant = of_tenant AND p.resumed_at IS NULL) THEN 0
                WHEN coalesce(t.per_tenant, r.per_tenant, s.per_tenant) IS NOT NULL
                THEN coalesce(t.per_tenant, r.per_tenant, s.per_tenant) - (
                     SELECT count(*) FROM pgbaton.calls AS c
                      WHERE c.pipeline = s.pipeline AND c.slot = s.step AND coalesce(c.tenant, '') COLLATE "C" = of_tenant) END
      INTO weight, rate, room
      FROM (VALUES (true)) AS one (there)
      LEFT JOIN pgbaton.tenants AS t ON t.pipeline = s.pipeline AND t.tenant = of_tenant
      LEFT JOIN pgbaton.tiers AS r ON r.pipeline = s.pipeline AND r.tier = of_tier;
    IF rate IS NOT NULL AND (room > 0 OR room IS NULL) THEN
        SELECT b.until INTO paid FROM pgbaton.spent AS b
         WHERE b.pipeline = s.pipeline AND b.stage = s.step AND b.tenant = '=' || of_tenant;
        room := least(room, pgbaton.allowance(rate, paid, at));
        room_in := CASE WHEN room <= 0 THEN pgbaton.allowed_in(rate, paid, at) END;
    END IF;
END
$fn$;

-- How many calls of one provider's account a stage bears besides those under way, by its answers 429. room null: the stage has
-- not refused the account. room_in: seconds until it may be called again, where it asked to be left alone.
CREATE OR REPLACE FUNCTION pgbaton.room_of_account(s pgbaton.stages, of_account text, at timestamptz, OUT room integer, OUT room_in float8)
LANGUAGE plpgsql STABLE
AS $fn$
DECLARE
    a pgbaton.accounts;
BEGIN
    SELECT * INTO a FROM pgbaton.accounts AS o WHERE o.pipeline = s.pipeline AND o.stage = s.step AND o.account = of_account;
    IF a.held_until > at THEN
        room := 0; room_in := extract(epoch FROM a.held_until - at);
    ELSIF a.ceiling IS NOT NULL THEN
        room := floor(a.ceiling)::integer - (SELECT count(*) FROM pgbaton.calls AS c
                                              WHERE c.pipeline = s.pipeline AND c.slot = s.step AND c.account = of_account);
    END IF;
END
$fn$;

-- How many places of a pool its calls take now.
CREATE OR REPLACE FUNCTION pgbaton.pool_use(of_pool text) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce(sum(s.cost * c.running), 0)::integer
      FROM pgbaton.stages AS s
     CROSS JOIN LATERAL (SELECT count(*) AS running FROM pgbaton.calls AS c WHERE c.pipeline = s.pipeline AND c.slot = s.step) AS c
     WHERE s.pool = of_pool
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
    lanes_at_most constant integer := 200;  -- tenants that one claim steps through under the stage's lock: 5 ms
    look_again constant float8 := 0.25;     -- seconds until a place that another worker's call frees is looked for
    k record;
    s pgbaton.stages;
    t pgbaton.turns;
    p pgbaton.pools;
    l record;
    own record;
    of_account record;
    g record;
    left_over integer := how_many;
    taken jsonb := '{}';  -- places of pools that this claim has granted already
    free integer;         -- what may be granted at this stage
    short boolean;        -- the pool has less free than one call costs
    granted integer;
    paid timestamptz;
    -- The walk of tenants: where it began and is, those that may have a call, and what they have waiting.
    resumes boolean;
    origin text;
    here text;
    last text;
    around boolean;
    wrapped boolean;
    steps integer;
    lanes text[];
    counts integer[];
    weights integer[];
    rates float8[];
    begun integer;
    in_round integer;
    waits integer;
    given jsonb;          -- by tenant and by account, where a stage has both: what its lanes may have got
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
    -- Pools first, by name: a stage's lock may be waited for while a pool's is held, and never the other way.
    PERFORM FROM pgbaton.pools AS o
      WHERE o.name IN (SELECT st.pool FROM pgbaton.stages AS st
                        WHERE st.pipeline = for_pipeline AND st.step = ANY (known) AND st.routed AND st.pool IS NOT NULL
                          AND pgbaton.waiting_in(st.pipeline, st.step, of_calls, NULL, 1, at) > 0)
      ORDER BY o.name FOR NO KEY UPDATE;
    FOR k IN
        SELECT st.step, n.since, st.governed OR st.concurrency IS NOT NULL OR st.strikes > 0 AS locks
          FROM unnest(known, entries, statuses, since) AS n (step, entry, status, since)
          JOIN pgbaton.stages AS st ON st.pipeline = for_pipeline AND st.step = n.step AND st.after = n.entry
                                    AND st.status = n.status
          JOIN pgbaton.pipelines AS o ON o.name = st.pipeline
         WHERE st.routed AND o.paused_at IS NULL
         ORDER BY st.position DESC  -- every worker locks them in this order
    LOOP
        EXIT WHEN left_over <= 0;
        CONTINUE WHEN pgbaton.waiting_in(for_pipeline, k.step, of_calls, NULL, 1, coalesce(moment, clock_timestamp())) = 0;
        IF k.locks THEN
            SELECT * INTO s FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.step = k.step FOR NO KEY UPDATE;
        ELSE
            SELECT * INTO s FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.step = k.step;
            CONTINUE WHEN s.governed OR s.concurrency IS NOT NULL OR s.strikes > 0;  -- since a moment ago
        END IF;
        at := coalesce(moment, clock_timestamp());
        CONTINUE WHEN s.paused_at IS NOT NULL OR s.open_until > at;
        stage := s.step; entry := s.after; entry_status := s.status; first_id := k.since; rate := s.rate; lane_rate := NULL; lane := NULL;
        limited := s.governed OR s.concurrency IS NOT NULL; probing := s.strikes > 0;
        may := 0; granted := 0; short := false; blocked_in := look_again;
        free := CASE WHEN probing THEN 1 ELSE left_over END;
        IF s.held_until > at THEN
            free := 0;
            blocked_in := extract(epoch FROM s.held_until - at);
        END IF;
        IF free > 0 AND (s.concurrency IS NOT NULL OR s.ceiling IS NOT NULL) THEN
            free := least(free, least(s.concurrency, floor(s.ceiling)::integer) - (
                SELECT count(*) FROM pgbaton.calls AS c WHERE c.pipeline = for_pipeline AND c.slot = s.step)::integer);
        END IF;
        IF free > 0 AND s.rate IS NOT NULL THEN
            SELECT b.until INTO paid FROM pgbaton.spent AS b
             WHERE b.pipeline = for_pipeline AND b.stage = s.step AND b.tenant = '';
            free := least(free, pgbaton.allowance(s.rate, paid, at));
            IF free <= 0 THEN
                blocked_in := pgbaton.allowed_in(s.rate, paid, at);
            END IF;
        END IF;
        IF free > 0 AND s.pool IS NOT NULL THEN
            SELECT * INTO p FROM pgbaton.pools AS o WHERE o.name = s.pool FOR NO KEY UPDATE;
            waits := (p.size - pgbaton.pool_use(s.pool) - coalesce((taken ->> s.pool)::integer, 0)) / s.cost;
            -- The pool is kept for a call that costs more than is free: else cheaper calls would take each place that comes
            -- free, and it would wait for ever.
            short := waits <= 0 AND s.cost > 1;
            free := CASE WHEN p.kept_until > at AND p.kept_for <> ARRAY[for_pipeline, s.step] THEN 0
                         WHEN short THEN 1 ELSE least(free, waits) END;
        END IF;
        IF free > 0 AND s.takes_turns THEN
            SELECT * INTO t FROM pgbaton.turns AS o WHERE o.pipeline = for_pipeline AND o.stage = s.step AND o.again = of_calls;
            -- Calls that wait again and duties take turns, too: where both are there, each gets half of the places.
            IF of_calls AND pgbaton.waiting_in(for_pipeline, s.step, false, NULL, 1, at) > 0 THEN
                free := (free + coalesce(t.odd, true)::integer) / 2;
            END IF;
            resumes := false;
            IF t.used > 0 THEN
                l := pgbaton.next_lane(for_pipeline, s.step, of_calls, t.lane);
                resumes := coalesce(l.lane = t.lane AND t.used < (pgbaton.room_of_tenant(s, l.tenant, l.tier, at)).weight, false);
            END IF;
            origin := CASE WHEN resumes THEN t.lane ELSE coalesce(t.lane || chr(1), '') END;
            here := origin; last := NULL; around := false; wrapped := false; steps := 0;
            lanes := '{}'; counts := '{}'; weights := '{}'; rates := '{}'; begun := 0; in_round := 0; given := '{}';
            WHILE steps < lanes_at_most AND in_round < free + begun LOOP
                l := pgbaton.next_lane(for_pipeline, s.step, of_calls, here);
                IF l.lane IS NULL AND NOT wrapped THEN
                    wrapped := true;
                    l := pgbaton.next_lane(for_pipeline, s.step, of_calls, '');
                END IF;
                here := l.lane;
                around := here IS NULL OR wrapped AND here >= origin;
                EXIT WHEN around;
                steps := steps + 1;
                last := here;
                own := pgbaton.room_of_tenant(s, l.tenant, l.tier, at);
                blocked_in := least(blocked_in, own.room_in);
                IF l.account IS NOT NULL THEN
                    of_account := pgbaton.room_of_account(s, l.account, at);
                    blocked_in := least(blocked_in, of_account.room_in);
                    -- Places that this claim has given to the tenant's other lanes, or to the account's, are not given twice.
                    own.room := least(own.room - coalesce((given ->> ('t' || l.tenant))::integer, 0),
                                      of_account.room - coalesce((given ->> ('a' || l.account))::integer, 0));
                END IF;
                IF own.room > 0 OR own.room IS NULL THEN
                    waits := pgbaton.waiting_in(for_pipeline, s.step, of_calls, here, least(free, own.room), at);
                    IF waits > 0 THEN
                        IF l.account IS NOT NULL THEN
                            given := given || jsonb_build_object(
                                't' || l.tenant, coalesce((given ->> ('t' || l.tenant))::integer, 0) + waits,
                                'a' || l.account, coalesce((given ->> ('a' || l.account))::integer, 0) + waits);
                        END IF;
                        IF resumes AND here = t.lane THEN
                            begun := t.used;
                        END IF;
                        lanes := array_append(lanes, here); counts := array_append(counts, waits);
                        weights := array_append(weights, own.weight); rates := array_append(rates, own.rate);
                        in_round := in_round + least(waits, own.weight);
                    END IF;
                END IF;
                here := here || chr(1);
            END LOOP;
            FOR g IN
                WITH item AS (
                    SELECT l.lane, l.weight, l.rate, l.nth, i.i, l.begun, (i.i - 1 + l.begun) / l.weight AS round
                      FROM (SELECT u.*, CASE u.nth WHEN 1 THEN begun ELSE 0 END AS begun
                              FROM unnest(lanes, counts, weights, rates) WITH ORDINALITY AS u (lane, waits, weight, rate, nth)) AS l
                     CROSS JOIN LATERAL generate_series(1, l.waits) AS i (i)
                     ORDER BY (i.i - 1 + l.begun) / l.weight, l.nth, i.i
                     LIMIT free
                )
                SELECT n.lane, n.rate, count(*)::integer AS granted, (max(n.i) + n.begun - 1) % n.weight + 1 AS used
                  FROM item AS n GROUP BY n.lane, n.rate, n.nth, n.weight, n.begun ORDER BY max(n.round), n.nth
            LOOP
                granted := granted + g.granted;
                last := CASE WHEN steps < lanes_at_most THEN g.lane ELSE last END;
                waits := g.used;
                IF NOT short THEN
                    lane := g.lane; may := g.granted; lane_rate := g.rate;
                    RETURN NEXT;
                END IF;
            END LOOP;
            IF steps >= lanes_at_most AND granted < free THEN
                blocked_in := 0;  -- there are more tenants than one claim looks at: the next claim goes on from here
            END IF;
            waits := CASE WHEN granted > 0 AND steps < lanes_at_most THEN waits ELSE 0 END;
            IF NOT short AND last IS NOT NULL THEN
                INSERT INTO pgbaton.turns AS o (pipeline, stage, again, lane, used, odd)
                VALUES (for_pipeline, s.step, of_calls, last, waits, NOT coalesce(t.odd, true))
                ON CONFLICT (pipeline, stage, again) DO UPDATE SET lane = EXCLUDED.lane, used = EXCLUDED.used, odd = EXCLUDED.odd;
            ELSIF of_calls AND free = 0 THEN
                INSERT INTO pgbaton.turns AS o (pipeline, stage, again) VALUES (for_pipeline, s.step, true)
                ON CONFLICT (pipeline, stage, again) DO UPDATE SET odd = NOT o.odd;
            END IF;
        ELSIF free > 0 THEN
            may := pgbaton.waiting_in(for_pipeline, s.step, of_calls, NULL, free, at);
            granted := may;
            IF may > 0 AND NOT short THEN
                RETURN NEXT;
            END IF;
        END IF;
        IF short AND granted > 0 THEN
            UPDATE pgbaton.pools AS o SET kept_for = ARRAY[for_pipeline, s.step], kept_until = at + interval '10 s' WHERE o.name = s.pool;
            granted := 0;
        ELSIF s.pool IS NOT NULL AND granted > 0 THEN
            taken := jsonb_set(taken, ARRAY[s.pool], to_jsonb(coalesce((taken ->> s.pool)::integer, 0) + granted * s.cost));
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
