-- $1 pipeline, $2 stage, $3 seconds, $4 at most: jobs whose call is left to the stage, and lost its answer or began longer ago.
SELECT c.job_key FROM pgbaton.calls AS c
 WHERE c.pipeline = $1 AND c.deadline IS NOT NULL AND c.stage = $2
   AND c.started_at < clock_timestamp() - make_interval(secs => $3) AND ($3 > 0 OR c.outcome = 'unknown')
 LIMIT $4
