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
-- Most stages have less waiting than the claim may call: then all of it is called, and no turn is needed (take_all). Only where
-- more waits does a claim walk (take_turns).
--
-- *free* is how many calls this claim may still make at a stage, *places* are what is left of pools, *waits* is how many jobs are
-- in sight of the claim, which looks at one more than it may call.

-- The first lane, from ``from_lane`` on, that has something waiting for the stage; null: none. The lane after x is searched from
-- x || chr(1): no lane lies between. tier: of one of its jobs.
CREATE OR REPLACE FUNCTION pgbaton.next_lane(s pgbaton.stages, of_calls boolean, from_lane text,
                                             OUT lane text, OUT tenant text, OUT account text, OUT tier text)
LANGUAGE plpgsql STABLE
AS $fn$
#variable_conflict use_column
BEGIN
    IF of_calls THEN
        SELECT pgbaton.lane(c.tenant, c.account) COLLATE "C", coalesce(c.tenant, ''), c.account, c.tier
          INTO lane, tenant, account, tier
          FROM pgbaton.calls AS c
         WHERE c.pipeline = s.pipeline AND c.waits_for = s.step AND c.due_at IS NOT NULL
           AND pgbaton.lane(c.tenant, c.account) COLLATE "C" >= from_lane
         ORDER BY pgbaton.lane(c.tenant, c.account) COLLATE "C" LIMIT 1;
    ELSE
        SELECT pgbaton.lane(d.tenant, d.account) COLLATE "C", coalesce(d.tenant, ''), d.account, d.tier
          INTO lane, tenant, account, tier
          FROM pgbaton.due AS d
         WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.rank IS NOT NULL
           AND pgbaton.lane(d.tenant, d.account) COLLATE "C" >= from_lane
         ORDER BY pgbaton.lane(d.tenant, d.account) COLLATE "C" LIMIT 1;
    END IF;
END
$fn$;

-- How many jobs of the lane may be called at ``at``, counted up to ``most``.
CREATE OR REPLACE FUNCTION pgbaton.waits_in(s pgbaton.stages, of_calls boolean, in_lane text, most integer, at timestamptz)
RETURNS integer LANGUAGE plpgsql STABLE
AS $fn$
BEGIN
    IF of_calls THEN
        RETURN (SELECT count(*) FROM (SELECT FROM pgbaton.calls AS c
                 WHERE c.pipeline = s.pipeline AND c.waits_for = s.step AND c.due_at <= at
                   AND pgbaton.lane(c.tenant, c.account) COLLATE "C" = in_lane LIMIT most) AS n);
    END IF;
    RETURN (SELECT count(*) FROM (SELECT FROM pgbaton.due AS d
             WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.rank IS NOT NULL
               AND pgbaton.lane(d.tenant, d.account) COLLATE "C" = in_lane LIMIT most) AS n);
END
$fn$;

-- Adds calls to what a claim has given to a tenant and to an account.
CREATE OR REPLACE FUNCTION pgbaton.given_to(given jsonb, of_tenant text, of_account text, calls integer) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $fn$
    SELECT given || jsonb_build_object('t' || of_tenant, coalesce((given ->> ('t' || of_tenant))::integer, 0) + calls)
        || CASE WHEN of_account IS NULL THEN '{}'
                ELSE jsonb_build_object('a' || of_account, coalesce((given ->> ('a' || of_account))::integer, 0) + calls) END
$fn$;

-- Calls for all that waits (``counts`` by lane), as far as the lanes' own limits allow.
CREATE OR REPLACE FUNCTION pgbaton.take_all(s pgbaton.stages, lanes text[], tenants text[], accounts text[], tiers text[],
                                            counts integer[], at timestamptz,
                                            OUT calls integer[], OUT rates float8[], OUT room_in float8)
LANGUAGE plpgsql STABLE
AS $fn$
DECLARE
    own record;
    given jsonb := '{}';
BEGIN
    FOR i IN 1 .. cardinality(lanes) LOOP
        own := pgbaton.room_of_lane(s, tenants[i], accounts[i], tiers[i], given, at);
        calls[i] := greatest(0, least(counts[i], own.room));
        rates[i] := own.rate;
        room_in := least(room_in, own.room_in);
        given := pgbaton.given_to(given, tenants[i], accounts[i], calls[i]);
    END LOOP;
END
$fn$;

-- ``free`` calls for the lanes in turns, and (where it ``moves``) a note of whose turn was the last. The walk ends where one turn
-- of each lane is enough, or once around. room_in 0: there are more lanes than one claim looks at.
CREATE OR REPLACE FUNCTION pgbaton.take_turns(s pgbaton.stages, of_calls boolean, free integer, moves boolean, at timestamptz,
                                              OUT lanes text[], OUT calls integer[], OUT rates float8[], OUT room_in float8)
LANGUAGE plpgsql
AS $fn$
#variable_conflict use_variable
DECLARE
    most constant integer := 200;  -- lanes that one claim looks at under the stage's lock: 5 ms
    t pgbaton.turns;
    origin text COLLATE "C";
    here text COLLATE "C";
    wrapped boolean := false;
    looked_at integer := 0;
    l record;
    own record;
    given jsonb := '{}';
    waits integer[] := '{}';
    weights integer[] := '{}';
    found integer;
    begun integer := 0;    -- calls that the first lane has had of its turn
    in_turn integer := 0;  -- calls in one turn of each lane
    left_over integer := free;
    last text;
    used integer;
BEGIN
    lanes := '{}'; calls := '{}'; rates := '{}';
    SELECT * INTO t FROM pgbaton.turns AS o WHERE o.pipeline = s.pipeline AND o.stage = s.step AND o.again = of_calls;
    origin := CASE WHEN t.used > 0 THEN t.lane ELSE coalesce(t.lane || chr(1), '') END;
    here := origin;
    WHILE looked_at < most AND in_turn < free LOOP
        l := pgbaton.next_lane(s, of_calls, here);
        IF l.lane IS NULL AND NOT wrapped THEN
            wrapped := true;
            l := pgbaton.next_lane(s, of_calls, '');
        END IF;
        EXIT WHEN l.lane IS NULL OR wrapped AND l.lane >= origin;
        looked_at := looked_at + 1;
        here := l.lane || chr(1);
        own := pgbaton.room_of_lane(s, l.tenant, l.account, l.tier, given, at);
        room_in := least(room_in, own.room_in);
        CONTINUE WHEN own.room <= 0;
        -- One turn of each lane before it comes first, so it gets no more than these leave.
        found := pgbaton.waits_in(s, of_calls, l.lane, least(free - in_turn, own.room), at);
        CONTINUE WHEN found = 0;
        IF lanes = '{}' AND l.lane = t.lane AND t.used < own.weight THEN
            begun := t.used;
        END IF;
        in_turn := in_turn + least(found, own.weight - CASE WHEN lanes = '{}' THEN begun ELSE 0 END);
        given := pgbaton.given_to(given, l.tenant, l.account, found);
        lanes := array_append(lanes, l.lane); rates := array_append(rates, own.rate); calls := array_append(calls, 0);
        waits := array_append(waits, found); weights := array_append(weights, own.weight);
    END LOOP;
    WHILE left_over > 0 AND lanes <> '{}' LOOP  -- a turn of each
        found := left_over;
        FOR i IN 1 .. cardinality(lanes) LOOP
            CONTINUE WHEN left_over = 0 OR calls[i] = waits[i];
            used := least(left_over, waits[i] - calls[i], weights[i] - begun);
            calls[i] := calls[i] + used; left_over := left_over - used;
            last := lanes[i]; used := (used + begun) % weights[i];  -- 0: its turn is over
            begun := 0;
        END LOOP;
        EXIT WHEN found = left_over;
    END LOOP;
    IF looked_at = most THEN  -- the next claim goes on from here
        last := l.lane; used := 0;
        room_in := CASE WHEN left_over > 0 THEN 0 ELSE room_in END;
    END IF;
    IF moves AND last IS NOT NULL AND (last, used) IS DISTINCT FROM (t.lane, t.used) THEN
        INSERT INTO pgbaton.turns AS o (pipeline, stage, again, lane, used) VALUES (s.pipeline, s.step, of_calls, last, used)
        ON CONFLICT (pipeline, stage, again) DO UPDATE SET lane = EXCLUDED.lane, used = EXCLUDED.used;
    END IF;
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

-- The calls that may be made now: for each stage how many; by lane where that matters, else lane is null. of_calls: calls that
-- wait to be called again; else duties, from the ids ``since`` on. calling false: duties are only to be named, as they come.
-- moment: the time to go by, for a simulation; null: now. rate, lane_rate: calls a second, which the claim pays for in
-- pgbaton.spent, at the time ``at``. may 0: more waits for the stage; a limit keeps it back, and another claim is worth it in
-- blocked_in seconds, or (null) how_many does. Raises as check_claim().
CREATE OR REPLACE FUNCTION pgbaton.admit(for_pipeline text, for_worker bigint, known text[], entries text[], statuses text[],
                                         since bigint[], how_many integer, calling boolean, of_calls boolean, moment timestamptz)
RETURNS TABLE (stage text, entry text, entry_status text, first_id bigint, lane text, may integer, limited boolean,
               probing boolean, rate float8, lane_rate float8, at timestamptz, blocked_in float8)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    look_again constant float8 := 0.25;  -- seconds until a place that another worker's call frees is looked for
    k record;
    s pgbaton.stages;
    p pgbaton.pools;
    locked text[];
    places jsonb;
    whole record;
    every record;
    turns record;
    lanes text[];
    calls integer[];
    rates float8[];
    left_over integer := how_many;
    free integer;
    granted integer;
BEGIN
    PERFORM pgbaton.check_claim(for_pipeline, for_worker);
    at := coalesce(moment, clock_timestamp());
    IF NOT calling THEN
        RETURN QUERY SELECT n.step, n.entry, n.status, 0::bigint, NULL::text, how_many, false, false,
                            NULL::float8, NULL::float8, at, NULL::float8
                       FROM unnest(known, entries, statuses) AS n (step, entry, status)
                       JOIN pgbaton.stages AS st ON st.pipeline = for_pipeline AND st.step = n.step
                      WHERE how_many > 0
                      ORDER BY st.position DESC;
        RETURN;
    END IF;
    -- Pools first, by name: a stage's lock may be waited for while a pool's is held, and never the other way. Their calls are
    -- counted behind the lock; a stage whose pool is not locked here is left for the next claim.
    IF EXISTS (SELECT FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.pool IS NOT NULL) THEN
        SELECT array_agg(l.name) INTO locked FROM (
            SELECT o.name FROM pgbaton.pools AS o
             WHERE o.name IN (SELECT st.pool FROM pgbaton.stages AS st
                               WHERE st.pipeline = for_pipeline AND st.step = ANY (known) AND st.routed AND CASE WHEN of_calls
                                     THEN EXISTS (SELECT FROM pgbaton.calls AS c
                                                   WHERE c.pipeline = for_pipeline AND c.waits_for = st.step AND c.due_at <= at)
                                     ELSE EXISTS (SELECT FROM pgbaton.due AS d
                                                   WHERE d.pipeline = for_pipeline AND d.stage = st.step) END)
             ORDER BY o.name FOR NO KEY UPDATE) AS l;
        SELECT jsonb_object_agg(o.name, o.size - pgbaton.pool_use(o.name)) INTO places
          FROM pgbaton.pools AS o WHERE o.name = ANY (locked);
    END IF;
    FOR k IN
        SELECT st.step, n.since, st.governed OR st.concurrency IS NOT NULL OR st.strikes > 0 AS locks, sight.*
          FROM unnest(known, entries, statuses, since) AS n (step, entry, status, since)
          JOIN pgbaton.stages AS st ON st.pipeline = for_pipeline AND st.step = n.step AND st.after = n.entry
                                    AND st.status = n.status
          JOIN pgbaton.pipelines AS o ON o.name = st.pipeline
         CROSS JOIN LATERAL (
                SELECT sum(l.waits)::integer AS waits, bool_and(l.ranked) AS ranked,
                       array_agg(pgbaton.lane(l.tenant, l.account)) AS lanes, array_agg(l.tenant) AS tenants,
                       array_agg(l.account) AS accounts, array_agg(l.tier) AS tiers, array_agg(l.waits) AS counts
                  FROM (SELECT w.tenant, w.account, max(w.tier) AS tier, bool_and(w.ranked) AS ranked, count(*)::integer AS waits
                          FROM (SELECT * FROM (SELECT coalesce(d.tenant, '') AS tenant, d.account, d.tier,
                                                      d.rank IS NOT NULL AS ranked
                                                 FROM pgbaton.due AS d
                                                WHERE NOT of_calls AND d.pipeline = for_pipeline AND d.stage = st.step
                                                  AND d.id >= n.since
                                                ORDER BY d.id LIMIT how_many + 1) AS duties
                                UNION ALL
                                SELECT * FROM (SELECT coalesce(c.tenant, ''), c.account, c.tier, true
                                                 FROM pgbaton.calls AS c
                                                WHERE of_calls AND c.pipeline = for_pipeline AND c.waits_for = st.step
                                                  AND c.due_at <= at
                                                ORDER BY c.due_at LIMIT how_many + 1) AS calls) AS w
                         GROUP BY w.tenant, w.account) AS l) AS sight
         WHERE how_many > 0 AND st.routed AND st.paused_at IS NULL AND o.paused_at IS NULL AND sight.waits > 0
         ORDER BY st.position DESC  -- every worker locks them in this order
    LOOP
        IF left_over <= 0 THEN
            stage := k.step; lane := NULL; may := 0; blocked_in := NULL;
            RETURN NEXT;
            EXIT;
        END IF;
        IF k.locks THEN
            SELECT * INTO s FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.step = k.step FOR NO KEY UPDATE;
        ELSE
            SELECT * INTO s FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.step = k.step;
            CONTINUE WHEN s.governed OR s.concurrency IS NOT NULL OR s.strikes > 0;  -- since a moment ago
        END IF;
        at := coalesce(moment, clock_timestamp());
        CONTINUE WHEN s.paused_at IS NOT NULL OR s.open_until > at OR s.pool IS NOT NULL AND (places ? s.pool) IS NOT TRUE;
        stage := s.step; entry := s.after; entry_status := s.status; first_id := k.since;
        limited := s.governed OR s.concurrency IS NOT NULL; probing := s.strikes > 0;
        rate := s.rate; lane_rate := NULL; lane := NULL;
        whole := pgbaton.room_of_stage(s, at);
        blocked_in := coalesce(whole.room_in, look_again);
        free := greatest(0, least(left_over, CASE WHEN probing THEN 1 END, whole.room));
        IF free > 0 AND s.pool IS NOT NULL THEN
            SELECT * INTO p FROM pgbaton.pools AS o WHERE o.name = s.pool;
            IF p.kept_until > at AND p.kept_for <> ARRAY[for_pipeline, s.step] THEN
                free := 0;
            ELSIF (places ->> s.pool)::integer >= s.cost THEN
                free := least(free, (places ->> s.pool)::integer / s.cost);
            ELSE
                free := 0;
                IF s.cost > 1 AND (NOT s.takes_turns OR (pgbaton.take_turns(s, of_calls, 1, false, at)).lanes <> '{}') THEN
                    -- The pool is kept for a call that costs more than is free: else cheaper calls would take each place that
                    -- comes free, and it would wait for ever.
                    UPDATE pgbaton.pools AS o SET kept_for = ARRAY[for_pipeline, s.step], kept_until = at + interval '10 s'
                     WHERE o.name = s.pool;
                END IF;
            END IF;
        END IF;
        IF free > 0 AND s.takes_turns THEN
            IF of_calls THEN
                free := pgbaton.half_of_calls(s, free);
            END IF;
            IF k.ranked AND k.waits <= free THEN
                every := pgbaton.take_all(s, k.lanes, k.tenants, k.accounts, k.tiers, k.counts, at);
                blocked_in := least(blocked_in, every.room_in);
                lanes := k.lanes; calls := every.calls; rates := every.rates;
                IF calls = k.counts AND array_remove(rates, NULL) = '{}' THEN  -- all that is in sight, in any order
                    lanes := ARRAY[NULL::text]; calls := ARRAY[k.waits];
                END IF;
            ELSE
                turns := pgbaton.take_turns(s, of_calls, free, true, at);
                blocked_in := least(blocked_in, turns.room_in);
                lanes := turns.lanes; calls := turns.calls; rates := turns.rates;
            END IF;
        ELSE
            lanes := ARRAY[NULL::text]; calls := ARRAY[least(k.waits, free)]; rates := ARRAY[NULL::float8];
        END IF;
        granted := 0;
        FOR i IN 1 .. cardinality(lanes) LOOP
            CONTINUE WHEN calls[i] = 0;
            granted := granted + calls[i];
            lane := lanes[i]; may := calls[i]; lane_rate := rates[i];
            RETURN NEXT;
        END LOOP;
        IF granted > 0 AND s.pool IS NOT NULL THEN
            places := jsonb_set(places, ARRAY[s.pool], to_jsonb((places ->> s.pool)::integer - granted * s.cost));
            IF p.kept_until IS NOT NULL THEN
                UPDATE pgbaton.pools AS o SET kept_for = NULL, kept_until = NULL WHERE o.name = s.pool;
            END IF;
        END IF;
        left_over := left_over - granted;
        IF granted < k.waits THEN
            lane := NULL; may := 0; blocked_in := CASE WHEN left_over > 0 THEN blocked_in END;
            RETURN NEXT;
        END IF;
    END LOOP;
END
$fn$;

