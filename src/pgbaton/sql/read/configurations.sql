-- $1 pipeline: the configurations of living workers, as far as they have said them.
SELECT w.name, w.version, w.base_url, w.routes::text AS routes, w.draining
  FROM pgbaton.workers AS w
 WHERE w.pipeline = $1 AND w.ended_at IS NULL AND pgbaton.alive(w)
 ORDER BY w.id
