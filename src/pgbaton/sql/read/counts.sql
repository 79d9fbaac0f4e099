-- $1 where counting stops, $2 completed ones at most: dispatches of every pipeline by stage and state, the settled ones of
-- the last day only (of those that died or were cancelled the newest $1), with the oldest wait in seconds of those that
-- are due.
WITH completed AS MATERIALIZED (
    SELECT pipeline, stage, count(*) AS count
      FROM (SELECT d.pipeline, d.stage FROM pgbaton.settled AS d
             WHERE d.settled_at > statement_timestamp() - interval '1 day' AND d.state = 'completed'
             ORDER BY d.settled_at DESC LIMIT $2) AS lately
     GROUP BY pipeline, stage
)
SELECT s.pipeline, s.step AS stage, s.position, s.routed, coalesce(s.paused_at, p.paused_at) IS NOT NULL AS paused,
       (SELECT count(*) FROM (SELECT FROM ONLY pgbaton.dispatches AS d
                               WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state = 'available' LIMIT $1) AS c) AS available,
       (SELECT count(*) FROM (SELECT FROM ONLY pgbaton.dispatches AS d
                               WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state = 'running' LIMIT $1) AS c) AS running,
       (SELECT count(*) FROM (SELECT FROM ONLY pgbaton.dispatches AS d
                               WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state = 'retryable' LIMIT $1) AS c) AS retryable,
       coalesce((SELECT c.count FROM completed AS c WHERE c.pipeline = s.pipeline AND c.stage = s.step), 0) AS completed,
       (SELECT count(*) FROM (SELECT d.settled_at FROM pgbaton.settled AS d
                               WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state = 'dead'
                               ORDER BY d.id DESC LIMIT $1) AS c
         WHERE c.settled_at > statement_timestamp() - interval '1 day') AS dead,
       (SELECT count(*) FROM (SELECT d.settled_at FROM pgbaton.settled AS d
                               WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state = 'cancelled'
                               ORDER BY d.id DESC LIMIT $1) AS c
         WHERE c.settled_at > statement_timestamp() - interval '1 day') AS cancelled,
       (SELECT extract(epoch FROM statement_timestamp() - d.available_at)::float8 FROM ONLY pgbaton.dispatches AS d
         WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state IN ('available', 'retryable')
           AND d.available_at <= statement_timestamp()
         ORDER BY d.available_at LIMIT 1) AS oldest_wait,
       (SELECT coalesce(sum(c.count), 0) >= $2 FROM completed AS c) AS completed_capped
  FROM pgbaton.stages AS s
  JOIN pgbaton.pipelines AS p ON p.name = s.pipeline
 ORDER BY s.pipeline, s.position
