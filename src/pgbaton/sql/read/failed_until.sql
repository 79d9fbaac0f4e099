-- $1 dispatch ids below this one (null: any), $2 n: the last of the n newest failed attempts, and its age in
-- seconds; none where there are fewer.
SELECT dispatch_id AS id, extract(epoch FROM clock_timestamp() - started_at)::float8 AS age
  FROM pgbaton.attempts
 WHERE error IS NOT NULL AND ($1::bigint IS NULL OR dispatch_id < $1)
 ORDER BY dispatch_id DESC, attempt DESC
OFFSET $2 - 1
 LIMIT 1
