-- $1 pipeline, $2 steps, $3 statuses: how many rows are in which state of them, by the stage that their latest open dispatch is
-- of (null: they have none; '': a look alone).
SELECT {step_text} AS step, {status_text} AS status, k.stage, count(*) AS rows
  FROM {table} AS j
  LEFT JOIN (SELECT DISTINCT ON (o.job_key) o.job_key, o.stage
               FROM (SELECT d.job_key, d.stage, d.id FROM pgbaton.due AS d WHERE d.pipeline = $1
                      UNION ALL
                     SELECT c.job_key, c.stage, c.id FROM pgbaton.calls AS c WHERE c.pipeline = $1) AS o
              ORDER BY o.job_key, o.stage <> '' DESC, o.id DESC) AS k ON k.job_key = ({job_key}) COLLATE "C"
 WHERE {step_text} = ANY ($2::text[]) AND {status_text} = ANY ($3::text[])
 GROUP BY 1, 2, 3
