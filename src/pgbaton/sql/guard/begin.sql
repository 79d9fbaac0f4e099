-- $1 job key, $2 tenant (null: not asked), $3 and $4 the entry state, $5 the step: begin, if the row is there.
UPDATE {table} AS j
   SET {step} = s.target_step::{step_type}, {put_status}{touch}
  FROM (SELECT $5::text AS target_step, 'running' AS target_status) AS s
 WHERE {job_is($1::text)} AND ($2::text IS NULL OR {tenant} = $2)
   AND {step_text} = $3 AND {status_text} = $4
RETURNING j.*
