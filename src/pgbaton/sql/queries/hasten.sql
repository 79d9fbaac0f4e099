-- $1 dispatch ids: let those that wait for a retry be due now. One that somebody holds is settled or claimed this
-- moment; waiting for it while holding others could deadlock a transaction over many jobs.
WITH free AS MATERIALIZED (
    SELECT id FROM pgbaton.dispatches WHERE id = ANY ($1::bigint[]) AND state = 'retryable'
       FOR NO KEY UPDATE SKIP LOCKED
), hastened AS (
    UPDATE pgbaton.dispatches AS d SET available_at = clock_timestamp()
      FROM free WHERE d.id = free.id
    RETURNING d.pipeline, d.job_key
), woken AS (
    SELECT pg_notify('pgbaton_wake', pipeline) FROM hastened GROUP BY pipeline
)
SELECT job_key, (SELECT count(*) FROM woken) FROM hastened
