-- $1 act: it is over and has changed nothing, so it is not kept.
DELETE FROM pgbaton.audit WHERE id = $1 AND state = 'done' AND jobs = 0
