-- $1 pipeline: how long the completed calls of each stage usually take: the middle of the hours of the last seven days.
SELECT h.stage, sum(h.calls)::bigint AS calls, percentile_cont(0.5) WITHIN GROUP (ORDER BY h.p50) AS p50,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY h.p95) AS p95
  FROM pgbaton.hours AS h
 WHERE h.pipeline = $1 AND h.hour > statement_timestamp() - interval '7 days' AND h.p50 IS NOT NULL
 GROUP BY h.stage
