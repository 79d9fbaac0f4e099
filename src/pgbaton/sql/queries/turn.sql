-- A worker's turn: write down what calls brought back and read what the trigger made of them, then claim.
-- $1 dispatch ids, $2 attempts, $3 HTTP statuses, $4 errors, $5 bodies; $6 pipeline, $7 worker, $8 known stages, $9 how
-- many to claim at most (0: claim nothing, whoever the worker is), $10 for how many seconds back to look, for each stage
-- (null: as far as there is anything due).
-- An attempt whose lock somebody holds is not waited for: its holder may be a user's transaction over many jobs, and
-- waiting for one attempt while holding another could deadlock it. The row of what is claimed is read with a snapshot
-- older than the claim's: where it looks out of place, look again before deciding anything.
-- What is joined by id is found by `= ANY ($1)`, too, so that no order of joins, chosen when a table was empty, reads it
-- whole when it is full.
WITH answered AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::text[], $5::text[])
        AS a (id, attempt, http_status, error, body)
), free AS MATERIALIZED (
    SELECT a.*
      FROM answered AS a
      JOIN pgbaton.attempts AS t ON t.dispatch_id = a.id AND t.attempt = a.attempt AND t.dispatch_id = ANY ($1)
       FOR NO KEY UPDATE OF t SKIP LOCKED
), noted AS (
    UPDATE pgbaton.attempts AS t
       SET http_status = f.http_status, error = coalesce(t.error, f.error), answer = f.body
      FROM free AS f
     WHERE t.dispatch_id = f.id AND t.attempt = f.attempt AND t.dispatch_id = ANY ($1)
)
SELECT false AS claimed, d.id, d.job_key, d.stage, d.state, d.attempt, d.worker,
       false AS probing, NULL::text AS traceparent, NULL::float8 AS waited, {row}
  FROM answered AS a
  JOIN pgbaton.dispatches AS d ON d.id = a.id AND d.id = ANY ($1)
  LEFT JOIN LATERAL (SELECT {columns} FROM {table} WHERE {key} = d.job_key::{key_type} OFFSET 0) AS j ON true
 UNION ALL
SELECT true, d.id, d.job_key, d.stage, 'running', d.attempt, $7::bigint, d.probing, d.traceparent, d.waited, {row}
  FROM pgbaton.claim($6, $7, $8, $9, $10) AS d
  LEFT JOIN LATERAL (SELECT {columns} FROM {table} WHERE {key} = d.job_key::{key_type} OFFSET 0) AS j ON true
 WHERE $9 > 0
