-- $1 pipeline, $2 job keys: create the dispatches that are missing, by the rows as they are now, each under its lock.
-- A row that somebody holds is left for the next time.
WITH job AS MATERIALIZED (
    SELECT j.{key}::text AS job_key, {tenant} AS tenant, j.{step}::text AS step
      FROM {table} AS j
     WHERE j.{key} IN (SELECT k::{key_type} FROM unnest($2::text[]) AS k) AND j.{status}::text = 'done'
       AND pg_column_size(j.{key}) <= 2640  -- as the trigger has it
       FOR NO KEY UPDATE OF j SKIP LOCKED
), created AS (
    INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage)
    SELECT $1, job.job_key, job.tenant, s.step
      FROM job JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.after = job.step AND s.routed
    ON CONFLICT (pipeline, job_key) DO NOTHING
    RETURNING job_key, stage
), woken AS (
    SELECT pg_notify('pgbaton_wake', $1) WHERE EXISTS (SELECT FROM created)
)
SELECT job_key, stage, (SELECT count(*) FROM woken) FROM created
