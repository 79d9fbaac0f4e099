-- $1 pipeline, $2 from this moment on, $3 a bin in seconds: by bin, what was rolled up of each tenant that had much.
SELECT tenant, date_bin(make_interval(secs => $3), hour, timestamptz '2000-01-03 00:00:00+00') AS at,
       sum(completed)::integer AS completed, sum(dead)::integer AS dead
  FROM pgbaton.throughput
 WHERE pipeline = $1 AND kind = 'one' AND hour >= $2
 GROUP BY 1, 2
