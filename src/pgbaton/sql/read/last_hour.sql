-- $1 pipeline, $2 settled dispatches at most, $3 of each stage at most in the samples: what was settled in the last hour,
-- by the minute (0: the last one) and by stage.
WITH lately AS MATERIALIZED (
    SELECT d.id, d.stage, d.state, d.attempt, d.available_at, d.settled_at,
           extract(epoch FROM statement_timestamp() - d.settled_at)::float8 AS ago
      FROM pgbaton.settled AS d
     WHERE d.pipeline = $1 AND d.settled_at > statement_timestamp() - interval '1 hour'
     ORDER BY d.settled_at DESC
     LIMIT $2
), minutes AS (
    SELECT floor(ago / 60)::integer AS minute, count(*) FILTER (WHERE state = 'completed') AS completed,
           count(*) FILTER (WHERE state = 'dead') AS failed
      FROM lately
     GROUP BY 1
), samples AS (
    SELECT l.stage, greatest(extract(epoch FROM t.started_at - l.available_at), 0)::float8 AS wait,
           greatest(extract(epoch FROM t.finished_at - t.started_at), 0)::float8 AS work
      FROM (SELECT *, row_number() OVER (PARTITION BY stage ORDER BY settled_at DESC) AS nth
              FROM lately WHERE state = 'completed') AS l
     CROSS JOIN LATERAL (SELECT * FROM pgbaton.attempts AS a
                          WHERE a.dispatch_id = l.id AND a.attempt = l.attempt LIMIT 1) AS t
     WHERE l.nth <= $3
), times AS (
    SELECT stage, count(*) AS sample, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY wait) AS wait,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY work) AS work
      FROM samples
     GROUP BY stage
), span AS (
    SELECT count(*) AS seen, greatest(least(max(ago), 300), 1) AS seconds FROM lately
), speed AS (
    SELECT l.stage, count(*) * 60 / (CASE WHEN span.seen < $2 THEN 300 ELSE span.seconds END) AS per_minute
      FROM lately AS l CROSS JOIN span
     WHERE l.state = 'completed' AND l.ago <= 300
     GROUP BY l.stage, span.seen, span.seconds
)
SELECT span.seen, (SELECT coalesce(json_agg(minutes), '[]') FROM minutes)::text AS minutes,
       (SELECT coalesce(json_agg(times), '[]') FROM times)::text AS times,
       (SELECT coalesce(json_agg(speed), '[]') FROM speed)::text AS speed
  FROM span
