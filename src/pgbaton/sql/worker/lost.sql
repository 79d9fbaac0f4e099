-- $1 pipeline, $2 keys after this one, $3 at most: jobs whose call is held by a worker without a lease, or left to a stage that
-- is past its time. In the order of keys.
SELECT c.job_key
  FROM pgbaton.calls AS c
  LEFT JOIN pgbaton.workers AS w ON w.id = c.worker
 WHERE c.pipeline = $1 AND c.job_key > $2
   AND (c.deadline IS NULL AND c.due_at IS NULL AND pgbaton.alive(w) IS NOT TRUE OR c.deadline <= clock_timestamp())
 ORDER BY c.job_key
 LIMIT $3
