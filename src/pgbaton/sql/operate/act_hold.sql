-- $1 act, $2 runner: whether this runner may write the next batch; the row is locked until that is committed.
SELECT true FROM pgbaton.audit WHERE id = $1 AND runner = $2 AND state = 'running' FOR UPDATE
