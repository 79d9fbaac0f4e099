-- $1 pipeline, $2 at most: apply changes that the users' transactions could only write down, by the rows as they
-- are now. A row that somebody holds is left for later, and so is a job that is gone while its dispatch is held: it may
-- be about to come back. Whoever absorbs need not be the one who has room for what becomes due by it: all who sleep are
-- told. Returns how many changes were applied.
WITH taken AS MATERIALIZED (
    SELECT c.id, c.job_key, c.step, c.status, c.changed_at FROM pgbaton.changes AS c
     WHERE c.pipeline = $1
     ORDER BY c.id
     LIMIT $2
       FOR UPDATE SKIP LOCKED
), job AS MATERIALIZED (
    SELECT j.{key}::text AS job_key, {tenant} AS tenant, j.{step}::text AS step, j.{status}::text AS status
      FROM {table} AS j
     WHERE j.{key} = ANY (ARRAY(SELECT t.job_key::{key_type} FROM taken AS t))
       FOR NO KEY UPDATE OF j SKIP LOCKED
), gone AS (
    SELECT DISTINCT t.job_key FROM taken AS t
     WHERE NOT EXISTS (SELECT FROM {table} AS j WHERE j.{key} = t.job_key::{key_type} OFFSET 0)  -- one look-up each
), forgotten AS MATERIALIZED (
    SELECT unnest(pgbaton.forget($1, ARRAY(SELECT job_key FROM gone))) AS job_key
), settled AS (
    SELECT job_key FROM job
     UNION ALL
    SELECT job_key FROM forgotten
     UNION ALL
    SELECT job_key FROM gone
     WHERE NOT EXISTS (SELECT FROM ONLY pgbaton.dispatches AS d
                        WHERE d.pipeline = $1 AND d.job_key = gone.job_key
                          AND d.state IN ('available', 'running', 'retryable'))
), removed AS (
    DELETE FROM pgbaton.changes AS c
     USING taken AS t
     WHERE c.id = t.id AND c.id = ANY (ARRAY(SELECT id FROM taken)) AND t.job_key IN (SELECT job_key FROM settled)
    RETURNING c.id
), applied AS (
    SELECT pgbaton.absorb_job($1, job.job_key, job.tenant, job.step, job.status, max(t.changed_at),
                              array_agg(t.step) FILTER (WHERE t.status = 'done'),
                              array_agg(t.changed_at) FILTER (WHERE t.status = 'done')) AS due
      FROM job JOIN taken AS t ON t.job_key = job.job_key
     GROUP BY job.job_key, job.tenant, job.step, job.status
), woken AS (
    SELECT pg_notify('pgbaton_wake', $1) FROM (SELECT bool_or(due) AS due FROM applied) AS a WHERE a.due
)
SELECT (SELECT count(*) FROM removed) AS applied, (SELECT count(*) FROM woken)
