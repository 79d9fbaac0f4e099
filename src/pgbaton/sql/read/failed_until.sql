-- $1 dispatch ids below this one (null: any), $2 n: the last of the n newest failed attempts, and its age in
-- seconds; none where there are fewer.
SELECT h.id, extract(epoch FROM clock_timestamp() - h.started_at)::float8 AS age
  FROM pgbaton.history AS h
 WHERE h.error IS NOT NULL AND ($1::bigint IS NULL OR h.id < $1)
 ORDER BY h.id DESC, h.attempt DESC
OFFSET $2 - 1
 LIMIT 1
