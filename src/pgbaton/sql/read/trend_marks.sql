-- $1 pipeline, $2 from this moment on, $3 at most: what was seen to run that did not before, the newest first.
SELECT d.at, d.what, d.was, d.is_now
  FROM pgbaton.deployments AS d
 WHERE d.pipeline = $1 AND d.at >= $2 AND d.was IS NOT NULL
 ORDER BY d.id DESC
 LIMIT $3
