-- $1 pipeline, $2 ended dispatches at most, $3 of each stage at most in the samples: what ended in the last hour, by the minute
-- (0: the last one) and by stage.
WITH lately AS MATERIALIZED (
    SELECT h.stage, h.state, h.called, h.attempt, h.created_at, h.started_at, h.ended_at,
           extract(epoch FROM statement_timestamp() - h.ended_at)::float8 AS ago
      FROM pgbaton.history AS h
     WHERE h.pipeline = $1 AND h.state IS NOT NULL AND h.ended_at > statement_timestamp() - interval '1 hour'
     ORDER BY h.ended_at DESC
     LIMIT $2
), minutes AS (
    SELECT floor(ago / 60)::integer AS minute, count(*) FILTER (WHERE state = 'completed') AS completed,
           count(*) FILTER (WHERE state = 'dead') AS failed
      FROM lately
     GROUP BY 1
), samples AS (  -- wait of first attempts only: a call that is made again has also waited for its retry
    SELECT l.stage, CASE l.attempt WHEN 1 THEN greatest(extract(epoch FROM l.started_at - l.created_at), 0)::float8 END AS wait,
           greatest(extract(epoch FROM l.ended_at - l.started_at), 0)::float8 AS work, l.nth <= 20 AND l.ago <= 300 AS latest
      FROM (SELECT *, row_number() OVER (PARTITION BY stage ORDER BY ended_at DESC) AS nth
              FROM lately WHERE state = 'completed' AND called) AS l
     WHERE l.nth <= $3
), times AS (
    SELECT stage, count(*) AS sample, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY wait) AS wait,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY work) AS work,
           count(*) FILTER (WHERE latest) AS latest_sample,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY work) FILTER (WHERE latest) AS latest,
           count(*) FILTER (WHERE NOT latest) AS earlier_sample,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY work) FILTER (WHERE NOT latest) AS earlier
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
