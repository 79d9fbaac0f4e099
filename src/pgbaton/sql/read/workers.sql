-- Workers, their leases and what they hold; times in seconds.
SELECT w.id, w.pipeline, w.name, w.capacity, w.draining,
       extract(epoch FROM clock_timestamp() - w.started_at)::float8 AS age,
       extract(epoch FROM clock_timestamp() - w.renewed_at)::float8 AS silent,
       w.expires_at > clock_timestamp() AS alive,
       (SELECT count(*) FROM ONLY pgbaton.dispatches d
         WHERE d.pipeline = w.pipeline AND d.state = 'running' AND d.worker = w.id) AS calls
  FROM pgbaton.workers w
 ORDER BY w.pipeline, w.id
