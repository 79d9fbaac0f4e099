-- $1 pipeline, $2 job keys, $3 who, $4 detail: dead jobs that are still marked as failed go back to their stage's entry
-- state (the trigger creates the new dispatch), and those that wait for a retry are due now. Nothing is waited for.
WITH newest AS MATERIALIZED (
    SELECT d.id, d.job_key, d.stage, d.state, s.after
      FROM (SELECT DISTINCT unnest($2::text[]) AS job_key) AS k
     CROSS JOIN LATERAL (SELECT * FROM pgbaton.dispatches AS n
                          WHERE n.pipeline = $1 AND n.job_key = k.job_key ORDER BY n.id DESC LIMIT 1) AS d
      JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.step = d.stage
), free AS MATERIALIZED (
    SELECT n.* FROM newest AS n
      JOIN {table} AS j ON j.{key} = n.job_key::{key_type}
     WHERE n.state = 'dead' AND j.{step}::text = n.stage AND j.{status}::text = 'failed'
       FOR NO KEY UPDATE OF j SKIP LOCKED
), moved AS (
    UPDATE {table} AS j
       SET {step} = f.after::{step_type}, {status} = 'done'::{status_type}{touch}
      FROM free AS f
     WHERE j.{key} = f.job_key::{key_type}
    RETURNING f.job_key
), waiting AS MATERIALIZED (
    SELECT d.id FROM ONLY pgbaton.dispatches AS d
     WHERE d.id IN (SELECT id FROM newest WHERE state = 'retryable') AND d.state = 'retryable'
       FOR NO KEY UPDATE SKIP LOCKED
), hastened AS (
    UPDATE ONLY pgbaton.dispatches AS d SET available_at = clock_timestamp()
      FROM waiting AS w WHERE d.id = w.id
    RETURNING d.job_key
), changed AS (
    SELECT job_key FROM moved UNION ALL SELECT job_key FROM hastened
), written AS (
    INSERT INTO pgbaton.audit (who, action, pipeline, job_key, jobs, detail)
    SELECT $3, 'retry', $1, CASE WHEN count(*) = 1 THEN min(job_key) END, count(*), $4::text::jsonb
      FROM changed HAVING count(*) > 0
), woken AS (
    SELECT pg_notify('pgbaton_wake', $1) WHERE EXISTS (SELECT FROM hastened)
)
SELECT job_key, (SELECT count(*) FROM woken) FROM changed
