SELECT d.stage, extract(epoch FROM t.finished_at - t.started_at)::float8 AS seconds
  FROM pgbaton.dispatches d
  JOIN pgbaton.attempts t ON t.dispatch_id = d.id AND t.attempt = d.attempt
 WHERE d.job_key = $1 AND d.state = 'completed'
