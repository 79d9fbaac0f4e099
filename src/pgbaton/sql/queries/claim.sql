-- A worker's turn that carries no answers: $1 pipeline, $2 worker, $3 known stages, $4 how many to claim at most, $5 for how
-- many seconds back to look, for each stage (null: as far as there is anything due).
-- The row is read with a snapshot older than the claim's: where it looks out of place, look again before deciding anything.
SELECT true AS claimed, d.id, d.job_key, d.stage, 'running' AS state, d.attempt, $2::bigint AS worker, d.probing, d.traceparent,
       d.waited, {row}
  FROM pgbaton.claim($1, $2, $3, $4, $5) AS d
  LEFT JOIN LATERAL (SELECT {columns} FROM {table} WHERE {key} = d.job_key::{key_type} OFFSET 0) AS j ON true
