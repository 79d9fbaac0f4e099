-- $1 dispatch ids: each dispatch as it is now, its job's row beside it.
SELECT d.id, d.job_key, d.stage, d.state, d.attempt, d.worker, d.traceparent, {row}
  FROM pgbaton.dispatches AS d
  LEFT JOIN LATERAL (SELECT {columns} FROM {table} WHERE {key} = d.job_key::{key_type} OFFSET 0) AS j ON true
 WHERE d.id = ANY ($1::bigint[])
