-- $1 worker, $2 lease in seconds, $3 draining, $4 calls that it holds, by stage, as JSON. No row: the lease has
-- lapsed, and another worker may hold its calls by now; or this database is a copy.
UPDATE pgbaton.workers AS w
   SET renewed_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => $2), draining = $3,
       under_way = $4::text::jsonb
 WHERE w.id = $1 AND pgbaton.alive(w)
   AND (SELECT pgbaton.at_home(p) FROM pgbaton.pipelines AS p WHERE p.name = w.pipeline) IS NOT FALSE
RETURNING w.id
