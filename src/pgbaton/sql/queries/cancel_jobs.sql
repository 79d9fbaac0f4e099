-- $1 pipeline, $2 job keys, $3 who, $4 detail: jobs with an open dispatch go to (stage, cancelled), where nothing is
-- routed from; the trigger cancels the dispatch. The row must be where the dispatch can be: one that moved on is left.
WITH open AS MATERIALIZED (
    SELECT d.job_key, d.stage, s.after
      FROM ONLY pgbaton.dispatches AS d
      JOIN pgbaton.stages AS s ON s.pipeline = d.pipeline AND s.step = d.stage
     WHERE d.pipeline = $1 AND d.job_key = ANY ($2::text[]) AND d.state IN ('available', 'running', 'retryable')
), free AS MATERIALIZED (
    SELECT o.* FROM open AS o
      JOIN {table} AS j ON j.{key} = o.job_key::{key_type}
     WHERE j.{step}::text = o.after AND j.{status}::text = 'done'
        OR j.{step}::text = o.stage AND j.{status}::text IN ('running', 'failed')
       FOR NO KEY UPDATE OF j SKIP LOCKED
), moved AS (
    UPDATE {table} AS j
       SET {step} = f.stage::{step_type}, {status} = 'cancelled'::{status_type}{touch}
      FROM free AS f
     WHERE j.{key} = f.job_key::{key_type}
    RETURNING f.job_key
), written AS (
    INSERT INTO pgbaton.audit (who, action, pipeline, job_key, jobs, detail)
    SELECT $3, 'cancel', $1, CASE WHEN count(*) = 1 THEN min(job_key) END, count(*), $4::text::jsonb
      FROM moved HAVING count(*) > 0
)
SELECT job_key FROM moved
