-- $1 pipeline: its stages and passages, those that left it included; timeouts in seconds.
SELECT step, after, status, condition, kind, detail, extract(epoch FROM timeout)::float8 AS timeout, attempts, concurrency,
       advance
  FROM pgbaton.stages WHERE pipeline = $1
