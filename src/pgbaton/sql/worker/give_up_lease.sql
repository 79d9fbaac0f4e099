-- $1 worker: it holds nothing any more and goes.
UPDATE pgbaton.workers SET ended_at = clock_timestamp() WHERE id = $1 AND ended_at IS NULL
