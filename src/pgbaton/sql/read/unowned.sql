-- $1 pipeline, $2 stage (null: any), $3 before when the row was changed last (null: any): by stage, how many rows are running
-- there without a duty or call, since when the oldest is, and a few keys.
SELECT s.step AS stage, count(*) AS rows, min({updated_at}) AS since, (array_agg({job_key} ORDER BY {updated_at}))[1:10] AS jobs
  FROM {table} AS j
  JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.step = {step_text} AND s.routed
 WHERE {status_text} = 'running' AND ($2::text IS NULL OR s.step = $2) AND ($3::timestamptz IS NULL OR {updated_at} < $3)
   AND pgbaton.is_live($1, {job_key}, {tenant})
   AND NOT EXISTS (SELECT FROM pgbaton.due AS d WHERE d.job_key = ({job_key}) COLLATE "C" AND d.pipeline = $1)
   AND NOT EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.job_key = ({job_key}) COLLATE "C")
 GROUP BY s.step, s.position
 ORDER BY s.position
