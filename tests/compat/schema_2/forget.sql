-- $1 dispatch ids: cancel those whose job is gone though no trigger saw it go.
-- As in hasten, nothing is waited for.
WITH free AS MATERIALIZED (
    SELECT d.id FROM pgbaton.dispatches AS d
     WHERE d.id = ANY ($1::bigint[]) AND d.state IN ('available', 'running', 'retryable')
       AND NOT EXISTS (SELECT FROM {table} AS j WHERE j.{key} = d.job_key::{key_type})
       FOR NO KEY UPDATE SKIP LOCKED
), cancelled AS (
    UPDATE pgbaton.dispatches AS d
       SET state = 'cancelled', worker = NULL, deadline = NULL, settled_at = clock_timestamp()
      FROM free
     WHERE d.id = free.id
    RETURNING d.id, d.attempt
), finished AS (
    UPDATE pgbaton.attempts AS t
       SET outcome = 'superseded', finished_at = clock_timestamp()
      FROM cancelled AS c
     WHERE t.dispatch_id = c.id AND t.attempt = c.attempt AND t.finished_at IS NULL
)
SELECT id FROM cancelled
