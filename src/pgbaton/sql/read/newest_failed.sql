-- $11 dispatch ids below this one (null: any), $13 at most: attempts that failed, newest first, in place of all of them.
(SELECT * FROM pgbaton.attempts
  WHERE error IS NOT NULL AND ($11::bigint IS NULL OR dispatch_id < $11)
  ORDER BY dispatch_id DESC, attempt DESC
  LIMIT $13)
