-- $1 pipeline, $2 job key, $3 step, $4 forced, $5 who: put the row to the step's entry state. What is open is cancelled
-- first, so that the trigger creates a dispatch of its own for this run; a row that is there already keeps its own.
-- Locks: job row, dispatch, attempt.
WITH seen AS (
    SELECT j.{step}::text AS step, j.{status}::text AS status FROM {table} AS j WHERE j.{key} = $2::text::{key_type}
), job AS MATERIALIZED (
    SELECT j.{step}::text AS step, j.{status}::text AS status, s.after
      FROM {table} AS j
      JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.step = $3 AND s.routed
     WHERE j.{key} = $2::text::{key_type}
       FOR NO KEY UPDATE OF j SKIP LOCKED
), free AS MATERIALIZED (
    SELECT *, (step, status) IS NOT DISTINCT FROM (after, 'done') AS there FROM job
     WHERE $4 OR status IS DISTINCT FROM 'running'
           AND NOT EXISTS (SELECT FROM ONLY pgbaton.dispatches AS d
                            WHERE d.pipeline = $1 AND d.job_key = $2 AND d.state = 'running')
), cancelled AS MATERIALIZED (
    SELECT after, there, pgbaton.cancel_open($1, ARRAY[$2::text])::text AS what FROM free
     WHERE NOT there OR EXISTS (SELECT FROM ONLY pgbaton.dispatches AS d
                                 WHERE d.pipeline = $1 AND d.job_key = $2 AND d.state = 'running')
), moved AS (
    UPDATE {table} AS j
       SET {step} = c.after::{step_type}, {status} = 'done'::{status_type}{touch}
      FROM cancelled AS c
     WHERE j.{key} = $2::text::{key_type} AND c.what IS NOT NULL
    RETURNING 1
), written AS (
    INSERT INTO pgbaton.audit (who, action, pipeline, stage, job_key, jobs, detail)
    SELECT $5, 'rerun', $1, $3, $2, 1,
           jsonb_build_object('was_step', free.step, 'was_status', free.status, 'force', $4::boolean)
      FROM free CROSS JOIN moved
)
SELECT EXISTS (SELECT FROM seen) AS known, EXISTS (SELECT FROM job) AS had, EXISTS (SELECT FROM free) AS free,
       (SELECT there FROM free) AS there, (SELECT count(*) FROM moved) AS moved
