-- As ease.sql, for provider's accounts: $1 pipeline, $2 steps, $3 accounts, $4 for each: calls that were answered well since
-- the last time. One that is as high as twice what it refused is forgotten.
WITH answered AS MATERIALIZED (
    SELECT a.*, a.ceiling + n.calls / a.ceiling / CASE WHEN a.ceiling < a.refused_at - 1 THEN 1 ELSE 20 END AS higher
      FROM unnest($2::text[], $3::text[], $4::integer[]) AS n (step, account, calls)
      JOIN pgbaton.accounts AS a ON a.pipeline = $1 AND a.stage = n.step AND a.account = n.account
     WHERE (SELECT count(*) FROM pgbaton.calls AS c
             WHERE c.pipeline = $1 AND c.slot = n.step AND c.account = n.account) >= 0.75 * floor(a.ceiling)
     ORDER BY a.stage, a.account  -- every worker locks accounts in this order
       FOR UPDATE OF a
), forgotten AS (
    DELETE FROM pgbaton.accounts AS a USING answered AS n
     WHERE (a.pipeline, a.stage, a.account) = (n.pipeline, n.stage, n.account) AND n.higher >= 2 * n.refused_at
)
UPDATE pgbaton.accounts AS a
   SET ceiling = CASE WHEN a.ceiling < a.refused_at - 1 THEN least(n.higher, a.refused_at - 1) ELSE n.higher END
  FROM answered AS n
 WHERE (a.pipeline, a.stage, a.account) = (n.pipeline, n.stage, n.account) AND n.higher < 2 * n.refused_at
