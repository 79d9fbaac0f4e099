-- $1 dispatch ids below this one (null: any), $2 n: the last of the n newest failed attempts, and its age in
-- seconds; none where there are fewer.
SELECT h.id, extract(epoch FROM clock_timestamp() - h.started_at)::float8 AS age
  FROM (SELECT f.id, f.attempt FROM pgbaton.history AS f  -- from the index alone
         WHERE f.error IS NOT NULL AND ($1::bigint IS NULL OR f.id < $1)
         ORDER BY f.id DESC, f.attempt DESC
        OFFSET $2 - 1
         LIMIT 1) AS last
  JOIN pgbaton.history AS h ON h.id = last.id AND h.attempt = last.attempt AND h.error IS NOT NULL
 LIMIT 1
