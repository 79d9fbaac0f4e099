-- $1 pipeline, $2 states, $3 stage, $4 tenant, $5 job key (each null: any), $6 at most: dispatches, newest first.
SELECT d.id, d.pipeline, d.job_key, d.tenant, d.stage, d.state, d.attempt, d.failures, d.created_at, d.available_at,
       d.settled_at, t.outcome, t.http_status, t.error
  FROM pgbaton.dispatches d
  LEFT JOIN pgbaton.attempts t ON t.dispatch_id = d.id AND t.attempt = d.attempt
 WHERE ($1::text IS NULL OR d.pipeline = $1)
   AND ($2::text[] IS NULL OR d.state = ANY ($2))
   AND ($3::text IS NULL OR d.stage = $3)
   AND ($4::text IS NULL OR d.tenant = $4)
   AND ($5::text IS NULL OR d.job_key = $5)
 ORDER BY d.id DESC
 LIMIT $6
