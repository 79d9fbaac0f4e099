-- $1 pipeline, $2 job key, $3 at most: the job's newest dispatches, newest first. run is the first of its run.
SELECT d.id, d.stage, d.state, d.attempt, d.failures, d.created_at, d.available_at, d.deadline, d.settled_at,
       d.settled_at IS NULL AND d.available_at = pgbaton.parked() AS parked, d.run
  FROM pgbaton.dispatches AS d
 WHERE d.pipeline = $1 AND d.job_key = $2
 ORDER BY d.id DESC
 LIMIT $3
