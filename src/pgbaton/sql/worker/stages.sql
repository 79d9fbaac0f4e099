-- $1 pipeline: its stages, those that left it included; timeouts in seconds.
SELECT step, after, extract(epoch FROM timeout)::float8 AS timeout, attempts, concurrency, advance
  FROM pgbaton.stages WHERE pipeline = $1
