-- $1 pipeline: how long the completed calls of each stage usually take: the middle of the hours of the last seven days.
SELECT t.stage, sum(t.completed)::bigint AS calls, percentile_cont(0.5) WITHIN GROUP (ORDER BY t.p50) AS p50,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY t.p95) AS p95
  FROM pgbaton.throughput AS t
 WHERE t.pipeline = $1 AND t.kind = 'all' AND t.hour > statement_timestamp() - interval '7 days' AND t.p50 IS NOT NULL
 GROUP BY t.stage
