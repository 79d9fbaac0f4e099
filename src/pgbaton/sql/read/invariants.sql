-- $1 pipeline: what must never be seen, as the invariant, how many break it, and a few job keys. Rows and dispatches
-- are read in one snapshot; a change that waits in the inbox excuses its job.
WITH open_dispatch AS (
    SELECT d.*, s.after, j.{key} IS NOT NULL AS present, j.{step}::text AS step, j.{status}::text AS status,
           EXISTS (SELECT FROM pgbaton.changes AS c WHERE c.pipeline = d.pipeline AND c.job_key = d.job_key) AS excused
      FROM pgbaton.dispatches AS d
      LEFT JOIN pgbaton.stages AS s ON s.pipeline = d.pipeline AND s.step = d.stage
      LEFT JOIN {table} AS j ON j.{key} = d.job_key::{key_type}
     WHERE d.pipeline = $1 AND d.state IN ('available', 'running', 'retryable')
), broken AS (
    SELECT 'a job in a routed state has an open dispatch' AS invariant, j.{key}::text AS job_key
      FROM {table} AS j
      JOIN pgbaton.stages AS s
        ON s.pipeline = $1 AND s.routed AND s.after = j.{step}::text AND j.{status}::text = 'done'
     WHERE NOT EXISTS (SELECT FROM pgbaton.dispatches AS d
                        WHERE d.pipeline = $1 AND d.job_key = j.{key}::text
                          AND d.state IN ('available', 'running', 'retryable'))
       AND NOT EXISTS (SELECT FROM pgbaton.changes AS c WHERE c.pipeline = $1 AND c.job_key = j.{key}::text)
    UNION ALL
    SELECT 'a job has at most one open dispatch', job_key FROM open_dispatch GROUP BY job_key HAVING count(*) > 1
    UNION ALL
    SELECT 'an open dispatch is for a job that its stage can be called for, or works on', job_key
      FROM open_dispatch
     WHERE NOT excused
       AND (NOT present OR NOT ((step, status) IS NOT DISTINCT FROM (after, 'done')
                                OR step IS NOT DISTINCT FROM stage AND status IN ('running', 'failed')))
    UNION ALL
    SELECT 'a running dispatch has a worker or a deadline', job_key
      FROM open_dispatch WHERE state = 'running' AND worker IS NULL AND deadline IS NULL
    UNION ALL
    SELECT 'a running dispatch has its attempt on record', d.job_key
      FROM open_dispatch AS d
     WHERE d.state = 'running'
       AND NOT EXISTS (SELECT FROM pgbaton.attempts AS t
                        WHERE t.dispatch_id = d.id AND t.attempt = d.attempt AND t.finished_at IS NULL)
    UNION ALL
    SELECT 'a dispatch has a known state, is settled where that says so, and a worker only while it runs', job_key
      FROM pgbaton.dispatches
     WHERE pipeline = $1
       AND (state NOT IN ('available', 'running', 'retryable', 'completed', 'dead', 'cancelled')
            OR (settled_at IS NULL) <> (state IN ('available', 'running', 'retryable'))
            OR worker IS NOT NULL AND state <> 'running')
    UNION ALL
    SELECT 'what is settled is kept apart from what is open', job_key
      FROM (SELECT pipeline, job_key FROM ONLY pgbaton.dispatches WHERE settled_at IS NOT NULL
             UNION ALL
            SELECT pipeline, job_key FROM pgbaton.settled WHERE settled_at IS NULL) AS misplaced
     WHERE pipeline = $1
    UNION ALL
    SELECT 'no attempt is newer than its dispatch knows', d.job_key
      FROM pgbaton.dispatches AS d JOIN pgbaton.attempts AS t ON t.dispatch_id = d.id AND t.attempt > d.attempt
     WHERE d.pipeline = $1
    UNION ALL
    SELECT 'a settled dispatch has no attempt under way', d.job_key
      FROM pgbaton.dispatches AS d JOIN pgbaton.attempts AS t ON t.dispatch_id = d.id AND t.finished_at IS NULL
     WHERE d.pipeline = $1 AND d.state IN ('completed', 'dead', 'cancelled')
)
SELECT invariant, count(*) AS broken, (array_agg(job_key ORDER BY job_key))[1:5] AS examples
  FROM broken GROUP BY invariant ORDER BY invariant
