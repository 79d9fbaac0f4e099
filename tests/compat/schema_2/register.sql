-- $1 pipeline, $2 name, $3 capacity, $4 lease in seconds
INSERT INTO pgbaton.workers (pipeline, name, capacity, expires_at)
VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
RETURNING id
