-- $1 pipeline, $2 dispatch ids: cancel those whose job is gone though no trigger saw it go.
WITH lost AS MATERIALIZED (
    SELECT d.id, d.job_key FROM ONLY pgbaton.dispatches AS d
     WHERE d.id = ANY ($2::bigint[]) AND d.state IN ('available', 'running', 'retryable')
)
SELECT lost.id
  FROM unnest(pgbaton.forget($1, ARRAY(SELECT job_key FROM lost))) AS gone (job_key)
  JOIN lost ON lost.job_key = gone.job_key
