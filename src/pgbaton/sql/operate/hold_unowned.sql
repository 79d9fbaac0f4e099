-- $1 pipeline, $2 stage (null: any), $3 before when the row was changed last (null: any), $4 keys after this one, $5 at most:
-- rows as unowned.sql counts them, locked as they are. A row that another transaction has locked is skipped.
SELECT {job_key} AS job_key
  FROM {table} AS j
  JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.step = {step_text} AND s.routed
 WHERE {status_text} = 'running' AND ($2::text IS NULL OR s.step = $2) AND ($3::timestamptz IS NULL OR {updated_at} < $3)
   AND ($4::text IS NULL OR {behind($4::text)})
   AND pgbaton.is_live($1, {job_key}, {tenant})
   AND NOT EXISTS (SELECT FROM pgbaton.due AS d WHERE d.job_key = ({job_key}) COLLATE "C" AND d.pipeline = $1)
   AND NOT EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.job_key = ({job_key}) COLLATE "C")
 ORDER BY {walk}
 LIMIT $5
   FOR NO KEY UPDATE OF j SKIP LOCKED
