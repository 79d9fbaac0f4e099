-- $1 worker, $2 the error by which Postgres refuses it: told under the lease that it had when it was refused.
UPDATE pgbaton.workers SET trouble = $2, trouble_at = clock_timestamp() WHERE id = $1
