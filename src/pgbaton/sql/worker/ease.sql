-- $1 pipeline, $2 steps, $3 for each: calls that it has answered well since the last time. The ceiling of a stage that uses it
-- up rises by 1 for as many answers as the ceiling counts calls; from the height where the stage last refused, for 20 times as
-- many. A ceiling at the configured limit, or at twice the height of the last refusal, is forgotten.
WITH answered AS MATERIALIZED (
    SELECT s.step, s.ceiling + a.calls / s.ceiling / CASE WHEN s.ceiling < s.refused_at - 1 THEN 1 ELSE 20 END AS higher
      FROM unnest($2::text[], $3::integer[]) AS a (step, calls)
      JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.step = a.step
     WHERE (SELECT count(*) FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.slot = s.step) >= 0.75 * floor(s.ceiling)
     ORDER BY s.position DESC  -- every worker locks stages in this order
       FOR NO KEY UPDATE OF s
)
UPDATE pgbaton.stages AS s
   SET ceiling = CASE WHEN a.higher < least(s.concurrency, 2 * s.refused_at) THEN
                      -- not past where it refused in one go, however long the worker was away
                      CASE WHEN s.ceiling < s.refused_at - 1 THEN least(a.higher, s.refused_at - 1) ELSE a.higher END END
  FROM answered AS a
 WHERE s.pipeline = $1 AND s.step = a.step AND s.ceiling IS NOT NULL
