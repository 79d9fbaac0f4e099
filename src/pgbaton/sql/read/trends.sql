-- $1 pipeline, $2 from this moment on, $3 tenant (null: all): by hour and stage, what was rolled up.
SELECT hour AS at, stage, completed, dead, waits::text AS waits, works::text AS works
  FROM pgbaton.throughput
 WHERE pipeline = $1 AND hour >= $2 AND ($3::text IS NULL AND kind = 'all' OR kind = 'one' AND tenant = left($3, 200))
