-- $1 act, $2 keys behind this one (null: from the first), $3 at most: the jobs that it changed, and the stages.
SELECT job_key, stage FROM pgbaton.audit_jobs
 WHERE act = $1 AND ($2::text IS NULL OR job_key > $2)
 ORDER BY job_key
 LIMIT $3
