-- A simulated claim: $1 pipeline, $2 worker, $3 stages, $4 and $5 the states in which they are due, $6 calls at most, $7 the
-- simulated time. The duties that pgbaton.admit() grants become calls and are paid for, as by a worker's turn; there are no
-- rows behind them. Returns the calls, and (without an id) in how many seconds what is blocked is worth another look.
WITH admitted AS MATERIALIZED (
    SELECT * FROM pgbaton.admit($1, $2, $3, $4, $5, array_fill(0::bigint, ARRAY[cardinality($3::text[])]), $6, true, false,
                                $7::timestamptz)
), taken AS MATERIALIZED (
    SELECT d.*, a.limited, a.rate, a.lane_rate
      FROM admitted AS a
     CROSS JOIN LATERAL (
            SELECT d.ctid AS tid, d.* FROM pgbaton.due AS d
             WHERE d.pipeline = $1 AND d.stage = a.stage
               AND (a.lane IS NULL OR pgbaton.lane(d.tenant, d.account) COLLATE "C" = a.lane)
             ORDER BY coalesce(d.rank, d.created_at), d.id
             LIMIT a.may) AS d
), gone AS (
    DELETE FROM pgbaton.due AS d WHERE d.ctid = ANY (ARRAY(SELECT t.tid FROM taken AS t))
), begun AS (
    INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, tenant, run, attempt, worker, created_at, started_at, slot)
    SELECT $1, t.job_key, t.id, t.stage, t.step, t.tenant, t.id, 1, $2, t.created_at, $7::timestamptz,
           CASE WHEN t.limited THEN t.stage END
      FROM taken AS t
), spent AS (
    INSERT INTO pgbaton.spent AS b (pipeline, stage, tenant, at, until)
    SELECT $1, t.stage, p.payer, $7::timestamptz, $7::timestamptz + make_interval(secs => count(*) / p.rate)
      FROM taken AS t
     CROSS JOIN LATERAL (VALUES ('', t.rate), ('=' || coalesce(t.tenant, ''), t.lane_rate)) AS p (payer, rate)
     WHERE p.rate IS NOT NULL
     GROUP BY t.stage, p.payer, p.rate
        ON CONFLICT (pipeline, stage, tenant) DO UPDATE
       SET at = EXCLUDED.at, until = greatest(b.until, EXCLUDED.at) + (EXCLUDED.until - EXCLUDED.at)
)
SELECT t.id, t.job_key, t.stage, t.tenant, t.created_at, NULL::float8 AS blocked_in FROM taken AS t
UNION ALL
SELECT NULL, NULL, a.stage, NULL, NULL, a.blocked_in FROM admitted AS a WHERE a.blocked_in IS NOT NULL AND a.may = 0
