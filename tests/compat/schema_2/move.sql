-- $1 job keys, $2 and $3 the states they must be in, $4 and $5 the states to put them in.
-- A row that somebody holds is skipped, not waited for.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
        AS w (job_key, from_step, from_status, to_step, to_status)
), free AS MATERIALIZED (
    SELECT w.* FROM wanted AS w
      JOIN {table} AS j ON j.{key} = w.job_key::{key_type}
     WHERE j.{step}::text = w.from_step AND j.{status}::text = w.from_status
       FOR NO KEY UPDATE OF j SKIP LOCKED
)
UPDATE {table} AS j
   SET {step} = f.to_step::{step_type}, {status} = f.to_status::{status_type}{touch}
  FROM free AS f
 WHERE j.{key} = f.job_key::{key_type}
RETURNING f.job_key
