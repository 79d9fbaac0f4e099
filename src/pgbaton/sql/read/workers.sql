-- Workers and their leases, those that were lost within the last hour included; times in seconds.
SELECT w.id, w.pipeline, w.name, w.capacity, w.stages, w.draining,
       extract(epoch FROM clock_timestamp() - w.started_at)::float8 AS age,
       extract(epoch FROM clock_timestamp() - w.renewed_at)::float8 AS silent,
       extract(epoch FROM w.expires_at - w.renewed_at)::float8 AS lease,
       pgbaton.alive(w) AS alive
  FROM pgbaton.workers AS w
 WHERE w.ended_at IS NULL
   AND (pgbaton.alive(w) OR w.expires_at > clock_timestamp() - interval '1 hour'
        OR EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.worker = w.id AND c.due_at IS NULL AND c.deadline IS NULL))
 ORDER BY w.pipeline, w.id
