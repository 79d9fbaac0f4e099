-- $1 dispatch ids: each dispatch as it is now, its job's row beside it.
SELECT d.id, d.job_key, d.stage, d.state, d.attempt, d.worker, {row}
  FROM pgbaton.dispatches AS d
  LEFT JOIN {table} AS j ON j.{key} = d.job_key::{key_type}
 WHERE d.id = ANY ($1::bigint[])
