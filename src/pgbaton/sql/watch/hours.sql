-- $1 pipeline, $2 completed calls of a stage in an hour at most: write the hours of the last day that are over and were not written;
-- none twice, for the row is there. An hour counts as over a minute after its end: an end is committed shortly after its time.
-- Hours of more than 30 days ago go.
WITH wanted AS MATERIALIZED (
    SELECT s.step AS stage, g.hour
      FROM pgbaton.stages AS s
     CROSS JOIN generate_series(date_trunc('hour', statement_timestamp() - interval '1 day'),
                                date_trunc('hour', statement_timestamp() - interval '1 minute') - interval '1 hour',
                                interval '1 hour') AS g (hour)
     WHERE s.pipeline = $1
       AND NOT EXISTS (SELECT FROM pgbaton.hours AS h WHERE h.pipeline = $1 AND h.stage = s.step AND h.hour = g.hour)
), gone AS (
    DELETE FROM pgbaton.hours AS h WHERE h.pipeline = $1 AND h.hour < statement_timestamp() - interval '30 days'
), calls AS MATERIALIZED (
    SELECT h.stage, date_trunc('hour', h.ended_at) AS hour, h.state, h.attempt,
           extract(epoch FROM h.ended_at - h.started_at)::float8 AS work,
           extract(epoch FROM h.started_at - h.created_at)::float8 AS wait,
           row_number() OVER (PARTITION BY h.stage, date_trunc('hour', h.ended_at)) AS nth
      FROM pgbaton.history AS h
     WHERE h.pipeline = $1 AND h.called
       AND h.ended_at >= (SELECT min(w.hour) FROM wanted AS w)
       AND h.ended_at < (SELECT max(w.hour) FROM wanted AS w) + interval '1 hour'
)
INSERT INTO pgbaton.hours (pipeline, stage, hour, calls, failed, p50, p95, wait_p50, wait_p95)
SELECT $1, w.stage, w.hour, count(c.stage), count(c.stage) FILTER (WHERE c.state IS DISTINCT FROM 'completed'),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY c.work) FILTER (WHERE c.state = 'completed' AND c.nth <= $2),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY c.work) FILTER (WHERE c.state = 'completed' AND c.nth <= $2),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY c.wait) FILTER (WHERE c.attempt = 1 AND c.nth <= $2),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY c.wait) FILTER (WHERE c.attempt = 1 AND c.nth <= $2)
  FROM wanted AS w
  LEFT JOIN calls AS c ON c.stage = w.stage AND c.hour = w.hour
 GROUP BY w.stage, w.hour
ON CONFLICT (pipeline, stage, hour) DO NOTHING
RETURNING stage
