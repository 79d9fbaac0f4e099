-- $1 job key, $2 tenant (null: not asked), $3 and $4 the entry state, $5 the step: begin, if the row is there.
UPDATE {table} AS j
   SET {step} = $5::text::{step_type}, {status} = 'running'::text::{status_type}{touch}
 WHERE j.{key} = $1::text::{key_type} AND ($2::text IS NULL OR {tenant} = $2)
   AND {step_text} = $3 AND {status_text} = $4
RETURNING j.*
