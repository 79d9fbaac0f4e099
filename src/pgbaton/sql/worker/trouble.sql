-- $1 worker, $2 a finding's code, $3 the error that keeps it from its work: told under the lease that it had when it met it.
UPDATE pgbaton.workers SET ailment = $2, trouble = $3, trouble_at = clock_timestamp() WHERE id = $1
