-- $1 pipeline: count what ended in the first hour that is over and was not counted; whether there may be another. One worker at a
-- time; hours in which nothing ended are stepped over. An hour is over two minutes late: a transaction may have
-- begun in it that was not committed then.
WITH at AS MATERIALIZED (
    SELECT t.rolled_to, date_bin(interval '1 hour', statement_timestamp() - interval '2 min',
                                 timestamptz '2000-01-03 00:00:00+00') AS this_hour
      FROM pgbaton.throughput_to AS t
     WHERE t.pipeline = $1
       FOR UPDATE SKIP LOCKED
), next AS MATERIALIZED (
    SELECT a.this_hour, coalesce((SELECT date_bin(interval '1 hour', h.ended_at, timestamptz '2000-01-03 00:00:00+00')
                                    FROM pgbaton.history AS h
                                   WHERE h.pipeline = $1 AND h.ended_at >= a.rolled_to AND h.ended_at < a.this_hour
                                   ORDER BY h.ended_at LIMIT 1), a.this_hour) AS hour
      FROM at AS a
     WHERE a.rolled_to < a.this_hour
), ended AS MATERIALIZED (
    SELECT h.stage, left(h.tenant, 200) AS tenant, h.state,
           CASE WHEN h.called AND h.attempt = 1 THEN {class_of(h.started_at - h.created_at)} END AS wait,
           CASE WHEN h.called AND h.state = 'completed' THEN {class_of(h.ended_at - h.started_at)} END AS work
      FROM next AS n
      JOIN pgbaton.history AS h ON h.pipeline = $1 AND h.state IS NOT NULL
                               AND h.ended_at >= n.hour AND h.ended_at < n.hour + interval '1 hour'
     WHERE n.hour < n.this_hour
), counted AS MATERIALIZED (
    SELECT stage, tenant, wait, work, count(*) FILTER (WHERE state = 'completed') AS completed,
           count(*) FILTER (WHERE state = 'dead') AS dead, count(*) AS n
      FROM ended
     GROUP BY stage, tenant, wait, work
), most AS MATERIALIZED (
    SELECT tenant FROM counted WHERE tenant IS NOT NULL GROUP BY tenant ORDER BY sum(n) DESC, tenant LIMIT 50
), parts AS MATERIALIZED (
    SELECT 'all' AS kind, '' AS tenant, stage, wait, work, completed, dead, n FROM counted
    UNION ALL
    SELECT CASE WHEN m.tenant IS NULL THEN 'rest' ELSE 'one' END, coalesce(m.tenant, ''), stage, wait, work, completed, dead, n
      FROM counted AS c LEFT JOIN most AS m ON m.tenant = c.tenant
), waits AS (
    SELECT kind, tenant, stage, jsonb_object_agg(wait, n) AS waits
      FROM (SELECT kind, tenant, stage, wait, sum(n) AS n FROM parts WHERE wait IS NOT NULL GROUP BY 1, 2, 3, 4) AS w
     GROUP BY 1, 2, 3
), works AS (
    SELECT kind, tenant, stage, jsonb_object_agg(work, n) AS works,
           0.001 * 2 ^ ((min(work) FILTER (WHERE upto >= 0.5 * calls) + 0.5) / 2) AS p50,
           0.001 * 2 ^ ((min(work) FILTER (WHERE upto >= 0.95 * calls) + 0.5) / 2) AS p95
      FROM (SELECT kind, tenant, stage, work, sum(n) AS n,
                   sum(sum(n)) OVER (PARTITION BY kind, tenant, stage ORDER BY work) AS upto,
                   sum(sum(n)) OVER (PARTITION BY kind, tenant, stage) AS calls
              FROM parts WHERE work IS NOT NULL GROUP BY 1, 2, 3, 4) AS w
     GROUP BY 1, 2, 3
), kept AS (
    INSERT INTO pgbaton.throughput (pipeline, hour, kind, tenant, stage, completed, dead, waits, works, p50, p95)
    SELECT $1, n.hour, p.kind, p.tenant, p.stage, p.completed, p.dead, coalesce(waits.waits, '{}'), coalesce(works.works, '{}'),
           works.p50, works.p95
      FROM next AS n
     CROSS JOIN (SELECT kind, tenant, stage, sum(completed) AS completed, sum(dead) AS dead FROM parts GROUP BY 1, 2, 3) AS p
      LEFT JOIN waits USING (kind, tenant, stage)
      LEFT JOIN works USING (kind, tenant, stage)
    ON CONFLICT DO NOTHING
), forgotten AS (
    DELETE FROM pgbaton.throughput AS t
     WHERE t.pipeline = $1 AND t.hour < statement_timestamp() - interval '92 days' AND EXISTS (SELECT FROM next)
), moved AS (
    UPDATE pgbaton.throughput_to AS t SET rolled_to = least(n.hour + interval '1 hour', n.this_hour)
      FROM next AS n
     WHERE t.pipeline = $1
)
SELECT coalesce((SELECT n.hour + interval '1 hour' < n.this_hour FROM next AS n), false) AS more
