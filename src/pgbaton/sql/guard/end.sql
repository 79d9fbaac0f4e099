-- $1 job key, $2 the step, $3 the status that ends it: only a row that this stage is working on.
UPDATE {table} AS j
   SET {status} = $3::text::{status_type}{touch}
 WHERE j.{key} = $1::text::{key_type} AND {step_text} = $2 AND {status_text} = 'running'
RETURNING true
