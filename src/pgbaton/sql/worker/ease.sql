-- $1 pipeline, $2 steps, $3 for each: calls that it has answered well since the last time. The ceiling of a stage that uses it
-- up rises, as pgbaton.eased() says.
WITH answered AS MATERIALIZED (
    SELECT s.step, a.calls
      FROM unnest($2::text[], $3::integer[]) AS a (step, calls)
      JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.step = a.step
     WHERE (SELECT count(*) FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.slot = s.step) >= 0.75 * floor(s.ceiling)
     ORDER BY s.position DESC  -- every worker locks stages in this order
       FOR NO KEY UPDATE OF s
)
UPDATE pgbaton.stages AS s
   SET ceiling = pgbaton.eased(s.ceiling, s.refused_at, a.calls, s.concurrency)
  FROM answered AS a
 WHERE s.pipeline = $1 AND s.step = a.step AND s.ceiling IS NOT NULL
