-- $1 worker, $2 version, $3 base URL, $4 routes as JSON, [[step, after, path], ...]: what a worker runs with, said under its
-- lease.
UPDATE pgbaton.workers SET version = $2, base_url = $3, routes = $4::text::jsonb WHERE id = $1
