-- $1 worker, $2 lease in seconds, $3 draining. No row: the lease has lapsed, and what the worker holds is another's by now.
UPDATE pgbaton.workers AS w
   SET renewed_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => $2), draining = $3
 WHERE w.id = $1 AND pgbaton.alive(w)
RETURNING w.id
