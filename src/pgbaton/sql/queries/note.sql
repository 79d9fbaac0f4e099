-- $1 dispatch ids, $2 attempts, $3 HTTP statuses, $4 errors, $5 bodies: write down what the calls brought back, and read
-- what the trigger made of them. An attempt whose lock somebody holds is not waited for: its holder may be a
-- user's transaction over many jobs, and waiting for one attempt while holding another could deadlock it.
WITH answered AS (
    SELECT * FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::text[], $5::text[])
        AS a (id, attempt, http_status, error, body)
), free AS MATERIALIZED (
    SELECT a.*
      FROM answered AS a
      JOIN pgbaton.attempts AS t ON t.dispatch_id = a.id AND t.attempt = a.attempt
       FOR NO KEY UPDATE OF t SKIP LOCKED
), noted AS (
    UPDATE pgbaton.attempts AS t
       SET http_status = f.http_status, error = coalesce(t.error, f.error), answer = f.body
      FROM free AS f
     WHERE t.dispatch_id = f.id AND t.attempt = f.attempt
)
SELECT d.id, d.job_key, d.stage, d.state, d.attempt, d.worker, {row}
  FROM answered AS a
  JOIN pgbaton.dispatches AS d ON d.id = a.id
  LEFT JOIN {table} AS j ON j.{key} = d.job_key::{key_type}
