-- Dispatches of every pipeline by stage and state, the settled ones of the last day only, with the oldest wait
-- in seconds of those that are due.
SELECT s.pipeline, s.step AS stage, s.position, s.routed, coalesce(s.paused_at, p.paused_at) IS NOT NULL AS paused,
       count(d.id) FILTER (WHERE d.state = 'available') AS available,
       count(d.id) FILTER (WHERE d.state = 'running') AS running,
       count(d.id) FILTER (WHERE d.state = 'retryable') AS retryable,
       count(d.id) FILTER (WHERE d.state = 'completed') AS completed,
       count(d.id) FILTER (WHERE d.state = 'dead') AS dead,
       count(d.id) FILTER (WHERE d.state = 'cancelled') AS cancelled,
       extract(epoch FROM clock_timestamp() - min(d.available_at) FILTER (
           WHERE d.state IN ('available', 'retryable') AND d.available_at <= clock_timestamp()))::float8 AS oldest_wait
  FROM pgbaton.stages s
  JOIN pgbaton.pipelines p ON p.name = s.pipeline
  LEFT JOIN pgbaton.dispatches d ON d.pipeline = s.pipeline AND d.stage = s.step
   AND (d.settled_at IS NULL OR d.settled_at > clock_timestamp() - interval '1 day')
 GROUP BY s.pipeline, s.step, s.position, s.routed, s.paused_at, p.paused_at
 ORDER BY s.pipeline, s.position
