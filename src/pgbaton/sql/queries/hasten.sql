-- $1 dispatch ids: let those that wait for a retry be due now.
UPDATE pgbaton.dispatches SET available_at = clock_timestamp()
 WHERE id = ANY ($1::bigint[]) AND state = 'retryable'
RETURNING job_key
