-- $1 pipeline, $2 worker, $3 known stages, $4 at most. The row is read with a snapshot older than the claim's:
-- where it looks out of place, look again before deciding anything.
SELECT d.id, d.job_key, d.stage, 'running' AS state, d.attempt, $2::bigint AS worker, d.probing, {row}
  FROM pgbaton.claim($1, $2, $3, $4) AS d
  LEFT JOIN {table} AS j ON j.{key} = d.job_key::{key_type}
