-- $1 worker, $2 lease in seconds, $3 draining. No row: the worker was away for so long that it was forgotten.
UPDATE pgbaton.workers
   SET renewed_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => $2), draining = $3
 WHERE id = $1
RETURNING id
