-- Move rows for attempts that this worker runs: $1 dispatch ids, $2 attempts, $3 workers, $4 and $5 the states they must
-- be in, $6 and $7 the states to put them in. A worker that was away for too long moves nothing: the dispatch is read
-- after the row's lock is had, as it is then. A row that somebody holds is skipped, not waited for.
WITH wanted AS (
    SELECT w.*, d.job_key
      FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])
        AS w (id, attempt, worker, from_step, from_status, to_step, to_status)
      JOIN ONLY pgbaton.dispatches AS d ON d.id = w.id AND d.id = ANY ($1)
), free AS MATERIALIZED (
    SELECT w.* FROM wanted AS w
     CROSS JOIN LATERAL (
            SELECT FROM {table} AS j
             WHERE j.{key} = w.job_key::{key_type} AND j.{step}::text = w.from_step AND j.{status}::text = w.from_status
             LIMIT 1
               FOR NO KEY UPDATE SKIP LOCKED
           ) AS held
), mine AS MATERIALIZED (
    SELECT f.* FROM free AS f
      JOIN ONLY pgbaton.dispatches AS d
        ON d.id = f.id AND d.id = ANY ($1) AND d.state = 'running' AND d.attempt = f.attempt AND d.worker = f.worker
       FOR NO KEY UPDATE OF d
)
UPDATE {table} AS j
   SET {step} = m.to_step::{step_type}, {status} = m.to_status::{status_type}{touch}
  FROM mine AS m
 WHERE j.{key} = m.job_key::{key_type} AND j.{key} = ANY (ARRAY(SELECT mine.job_key::{key_type} FROM mine))
RETURNING m.id
