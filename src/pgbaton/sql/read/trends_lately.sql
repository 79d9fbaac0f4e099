-- $1 pipeline, $2 from this moment on, $3 tenant (null: all), $4 at most: what ended since the last roll-up, the newest, by hour,
-- stage and tenant, in the shape of the rolled up hours.
WITH lately AS MATERIALIZED (
    SELECT h.stage, left(h.tenant, 200) AS tenant, h.state,
           date_bin(interval '1 hour', h.ended_at, timestamptz '2000-01-03 00:00:00+00') AS at,
           CASE WHEN h.called AND h.attempt = 1 THEN {class_of(h.started_at - h.created_at)} END AS wait,
           CASE WHEN h.called AND h.state = 'completed' THEN {class_of(h.ended_at - h.started_at)} END AS work
      FROM pgbaton.history AS h
     WHERE h.pipeline = $1 AND h.state IS NOT NULL
       AND h.ended_at >= greatest($2, (SELECT t.rolled_to FROM pgbaton.throughput_to AS t WHERE t.pipeline = $1))
     ORDER BY h.ended_at DESC
     LIMIT $4
)
SELECT at, stage, tenant, wait, work, count(*) FILTER (WHERE state = 'completed') AS completed,
       count(*) FILTER (WHERE state = 'dead') AS dead, count(*) AS n, (SELECT count(*) FROM lately) AS seen
  FROM lately
 WHERE $3::text IS NULL OR tenant = left($3, 200)
 GROUP BY at, stage, tenant, wait, work
