-- $1 pipeline, $2 job: the stage of its open dispatch, and how that stands.
SELECT d.stage, d.state FROM pgbaton.dispatches AS d
 WHERE d.pipeline = $1 AND d.job_key = $2 AND d.state IN ('available', 'running', 'retryable')
 ORDER BY d.id DESC
 LIMIT 1
