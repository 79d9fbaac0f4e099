-- What limits leave: how many calls each kind of limit still lets begin, and what answers 429 teach it. admission.sql shares it
-- out.
--
-- *room* is how many more calls a limit lets begin (null: any number), room_in how many seconds until it lets one, where that is
-- known.
-- Functions without a search_path are put in the place of the call by Postgres, or called under that of pgbaton.admit().

-- How many calls a rate lets begin at ``at``; null: any. A second's worth, and one at least, may begin at once; ``until`` is when
-- all that have begun are paid for.
CREATE OR REPLACE FUNCTION pgbaton.allowance(rate float8, until timestamptz, at timestamptz) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $fn$
    SELECT CASE WHEN rate IS NOT NULL THEN floor(
        greatest(rate, 1) - greatest(coalesce(extract(epoch FROM until - at), 0), 0)::float8 * rate + 1e-6)::integer END
$fn$;

-- Seconds from ``at`` until a rate lets the next call begin.
CREATE OR REPLACE FUNCTION pgbaton.allowed_in(rate float8, until timestamptz, at timestamptz) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $fn$
    SELECT greatest(0, extract(epoch FROM until - at)::float8 - (greatest(rate, 1) - 1) / rate)
$fn$;

-- How many calls the limits of the stage as a whole let begin. The stage is locked.
CREATE OR REPLACE FUNCTION pgbaton.room_of_stage(s pgbaton.stages, at timestamptz, OUT room integer, OUT room_in float8)
LANGUAGE plpgsql STABLE
AS $fn$
DECLARE
    paid timestamptz;
BEGIN
    IF s.held_until > at THEN
        room := 0; room_in := extract(epoch FROM s.held_until - at);
        RETURN;
    END IF;
    IF num_nonnulls(s.concurrency, s.ceiling) > 0 THEN
        room := least(s.concurrency, floor(s.ceiling)::integer) - (
            SELECT count(*) FROM pgbaton.calls AS c WHERE c.pipeline = s.pipeline AND c.slot = s.step)::integer;
    END IF;
    IF s.rate IS NOT NULL AND (room > 0 OR room IS NULL) THEN
        SELECT b.until INTO paid FROM pgbaton.spent AS b WHERE b.pipeline = s.pipeline AND b.stage = s.step AND b.tenant = '';
        room := least(room, pgbaton.allowance(s.rate, paid, at));
        room_in := CASE WHEN room <= 0 THEN pgbaton.allowed_in(s.rate, paid, at) END;
    END IF;
END
$fn$;

-- How many calls of a lane a stage lets begin: by the limits of its tenant (the tenant's own, its tier's or the stage's), and by
-- the ceiling that answers 429 have taught for its account. weight: the tenant's calls in one turn. given: what this claim has
-- granted already to the tenant's other lanes ("t…") and to the account's ("a…"), so that no place is given twice.
CREATE OR REPLACE FUNCTION pgbaton.room_of_lane(s pgbaton.stages, of_tenant text, of_account text, of_tier text, given jsonb,
                                                at timestamptz, OUT room integer, OUT weight integer,
                                                OUT rate float8, OUT room_in float8)
LANGUAGE plpgsql STABLE
AS $fn$
DECLARE
    own record;
    a pgbaton.accounts;
    paid timestamptz;
BEGIN
    SELECT coalesce(t.weight, r.weight, 1) AS weight, coalesce(t.per_tenant, r.per_tenant, s.per_tenant) AS per_tenant,
           coalesce(t.rate_per_tenant, r.rate_per_tenant, s.rate_per_tenant) AS rate, p.tenant IS NOT NULL AS paused
      INTO own
      FROM (VALUES (true)) AS one (there)
      LEFT JOIN pgbaton.tenants AS t ON t.pipeline = s.pipeline AND t.tenant = of_tenant
      LEFT JOIN pgbaton.tiers AS r ON r.pipeline = s.pipeline AND r.tier = of_tier
      LEFT JOIN pgbaton.paused_tenants AS p ON p.pipeline = s.pipeline AND p.tenant = of_tenant AND p.resumed_at IS NULL;
    weight := own.weight; rate := own.rate;
    IF own.paused THEN
        room := 0;
        RETURN;
    END IF;
    IF own.per_tenant IS NOT NULL THEN
        room := own.per_tenant - coalesce((given ->> ('t' || of_tenant))::integer, 0) - (
            SELECT count(*) FROM pgbaton.calls AS c
             WHERE c.pipeline = s.pipeline AND c.slot = s.step AND coalesce(c.tenant, '') COLLATE "C" = of_tenant)::integer;
    END IF;
    IF rate IS NOT NULL AND (room > 0 OR room IS NULL) THEN
        SELECT b.until INTO paid FROM pgbaton.spent AS b
         WHERE b.pipeline = s.pipeline AND b.stage = s.step AND b.tenant = '=' || of_tenant;
        room := least(room, pgbaton.allowance(rate, paid, at) - coalesce((given ->> ('t' || of_tenant))::integer, 0));
        room_in := CASE WHEN room <= 0 THEN pgbaton.allowed_in(rate, paid, at) END;
    END IF;
    IF of_account IS NOT NULL AND (room > 0 OR room IS NULL) THEN
        SELECT * INTO a FROM pgbaton.accounts AS o WHERE o.pipeline = s.pipeline AND o.stage = s.step AND o.account = of_account;
        IF a.held_until > at THEN
            room := 0; room_in := extract(epoch FROM a.held_until - at);
        ELSIF a.ceiling IS NOT NULL THEN
            room := least(room, floor(a.ceiling)::integer - coalesce((given ->> ('a' || of_account))::integer, 0) - (
                SELECT count(*) FROM pgbaton.calls AS c
                 WHERE c.pipeline = s.pipeline AND c.slot = s.step AND c.account = of_account)::integer);
        END IF;
    END IF;
END
$fn$;

-- How many places of a pool its calls take now.
CREATE OR REPLACE FUNCTION pgbaton.pool_use(of_pool text) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce(sum(s.cost * c.running), 0)::integer
      FROM pgbaton.stages AS s
     CROSS JOIN LATERAL (SELECT count(*) AS running FROM pgbaton.calls AS c
                          WHERE c.pipeline = s.pipeline AND c.slot = s.step) AS c
     WHERE s.pool = of_pool
$fn$;

-- What answers 429 teach: two rules, for a stage and for a provider's account alike.

-- A ceiling after so many good answers: it rises by 1 for as many as it counts calls; from the height where calls were last
-- refused, for 20 times as many, and not past that height in one go, however long the worker was away. null: it is as high as
-- ``most``, or as twice what was refused, and is forgotten.
CREATE OR REPLACE FUNCTION pgbaton.eased(ceiling float8, refused_at float8, answers integer, most integer) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN n.higher < least(most, 2 * refused_at) THEN
                CASE WHEN n.recovers THEN least(n.higher, refused_at - 1) ELSE n.higher END END
      FROM (SELECT ceiling < refused_at - 1 AS recovers,
                   ceiling + answers / ceiling / CASE WHEN ceiling < refused_at - 1 THEN 1 ELSE 20 END AS higher) AS n
$fn$;

-- A ceiling after ``refused`` of the ``running`` calls were refused. fresh: they began after the last cut, and at most half as
-- many calls are made at once from now on as there are. Else they are of the burst that was cut already, and lower the ceiling by
-- their number only.
CREATE OR REPLACE FUNCTION pgbaton.cut(running bigint, refused integer, fresh boolean,
                                       INOUT ceiling float8, INOUT refused_at float8)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT greatest(1, least(CASE WHEN fresh THEN floor(running / 2.0) ELSE ceiling END, n.refusing - 1)), n.refusing
      FROM (SELECT greatest(1, CASE WHEN fresh THEN running - refused + 1 ELSE refused_at - refused END)::float8 AS refusing) AS n
$fn$;

