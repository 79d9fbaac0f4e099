-- $1 pipeline, $2 where counting stops: the stages, their circuits, and how many of their dispatches are where. The dead
-- are those that nothing was dispatched for since, among the newest $2.
SELECT s.step AS stage, s.after, s.position, s.routed, s.paused_at IS NOT NULL AS paused, s.attempts,
       extract(epoch FROM s.timeout)::float8 AS timeout, s.concurrency, s.strikes, s.open_until,
       coalesce(s.open_until > statement_timestamp(), false) AS open,
       (SELECT count(*) FROM (SELECT FROM ONLY pgbaton.dispatches d
                               WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state = 'available'
                                 AND d.available_at < pgbaton.parked() LIMIT $2) c) AS waiting,
       (SELECT count(*) FROM (SELECT FROM ONLY pgbaton.dispatches d
                               WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state = 'running' LIMIT $2) c) AS running,
       (SELECT count(*) FROM (SELECT FROM ONLY pgbaton.dispatches d
                               WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state = 'retryable'
                                 AND d.available_at < pgbaton.parked() LIMIT $2) c) AS retrying,
       (SELECT count(*) FROM (SELECT FROM ONLY pgbaton.dispatches d
                               WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state IN ('available', 'retryable')
                                 AND d.available_at = pgbaton.parked() LIMIT $2) c) AS parked,
       (SELECT count(*) FROM (SELECT d.job_key, d.id FROM pgbaton.settled d
                               WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state = 'dead'
                               ORDER BY d.id DESC LIMIT $2) c
         WHERE NOT EXISTS (SELECT FROM pgbaton.dispatches n
                            WHERE n.job_key = c.job_key AND n.pipeline = s.pipeline AND n.id > c.id)) AS dead,
       (SELECT extract(epoch FROM statement_timestamp() - d.available_at)::float8 FROM ONLY pgbaton.dispatches d
         WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state IN ('available', 'retryable')
           AND d.available_at <= statement_timestamp()
         ORDER BY d.available_at LIMIT 1) AS oldest_wait
  FROM pgbaton.stages AS s
 WHERE s.pipeline = $1
 ORDER BY s.position
