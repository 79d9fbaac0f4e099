SELECT j.job_id, j.current_step, j.status,
       (SELECT d.attempt FROM pgbaton.dispatches d
         WHERE d.job_key = j.job_id::text ORDER BY d.id DESC LIMIT 1) AS attempt,
       (SELECT format('dead at %s: %s', d.stage, coalesce(t.error, t.outcome))
          FROM pgbaton.dispatches d
          LEFT JOIN pgbaton.attempts t ON t.dispatch_id = d.id AND t.attempt = d.attempt
         WHERE d.job_key = j.job_id::text AND d.state = 'dead'
         ORDER BY d.id DESC LIMIT 1) AS dead
  FROM public.jobs j
 WHERE j.job_id = ANY ($1)
