-- $1 pipeline, $2 steps, $3 statuses: how many rows are in which state of them, and how many of those have a duty or a call.
SELECT {step_text} AS step, {status_text} AS status, count(*) AS rows, count(k.job_key) AS known
  FROM {table} AS j
  LEFT JOIN (SELECT d.job_key FROM pgbaton.due AS d WHERE d.pipeline = $1
              UNION
             SELECT c.job_key FROM pgbaton.calls AS c WHERE c.pipeline = $1) AS k ON k.job_key = ({job_key}) COLLATE "C"
 WHERE {step_text} = ANY ($2::text[]) AND {status_text} = ANY ($3::text[])
 GROUP BY 1, 2
