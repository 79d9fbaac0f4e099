-- As ease.sql, for provider's accounts: $1 pipeline, $2 steps, $3 accounts, $4 for each: calls that were answered well since
-- the last time.
WITH answered AS MATERIALIZED (
    SELECT a.stage, a.account, pgbaton.eased(a.ceiling, a.refused_at, n.calls, NULL) AS ceiling
      FROM unnest($2::text[], $3::text[], $4::integer[]) AS n (step, account, calls)
      JOIN pgbaton.accounts AS a ON a.pipeline = $1 AND a.stage = n.step AND a.account = n.account
     WHERE (SELECT count(*) FROM pgbaton.calls AS c
             WHERE c.pipeline = $1 AND c.slot = n.step AND c.account = n.account) >= 0.75 * floor(a.ceiling)
     ORDER BY a.stage, a.account  -- every worker locks accounts in this order
       FOR UPDATE OF a
), forgotten AS (
    DELETE FROM pgbaton.accounts AS a USING answered AS n
     WHERE (a.pipeline, a.stage, a.account) = ($1, n.stage, n.account) AND n.ceiling IS NULL
)
UPDATE pgbaton.accounts AS a SET ceiling = n.ceiling FROM answered AS n
 WHERE (a.pipeline, a.stage, a.account) = ($1, n.stage, n.account) AND n.ceiling IS NOT NULL
