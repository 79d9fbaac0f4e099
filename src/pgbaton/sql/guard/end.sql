-- $1 job key, $2 the step, $3 the status that ends it: only a row that this stage is working on.
UPDATE {table} AS j
   SET {put_status}{touch}
  FROM (SELECT $3::text AS target_status) AS s
 WHERE {job_is($1::text)} AND {step_text} = $2 AND {status_text} = 'running'
RETURNING true
