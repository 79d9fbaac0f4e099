-- $1 act, $2 runner, $3 state, $4 error: it ended so, unless it had ended, or another runner has it.
UPDATE pgbaton.audit SET state = $3, error = $4, ended_at = CASE WHEN $3 <> 'broken' THEN clock_timestamp() END,
       renewed_at = clock_timestamp()
 WHERE id = $1 AND runner = $2 AND state = 'running'
