-- $1 pipeline, $2 keys after this one (null: from the first), $3 rows to look at: the last key looked at, and those
-- of the rows that are in a routed state though no dispatch is open for them.
WITH page AS MATERIALIZED (
    SELECT j.{key} AS key, {tenant} AS tenant, j.{step}::text AS step, j.{status}::text AS status
      FROM {table} AS j
     WHERE $2::text IS NULL OR j.{key} > $2::text::{key_type}
     ORDER BY j.{key}
     LIMIT $3
)
SELECT (SELECT key::text FROM page ORDER BY key DESC LIMIT 1) AS last,
       (SELECT count(*) FROM page) AS looked_at,
       coalesce(array_agg(p.key::text ORDER BY p.key) FILTER (WHERE s.step IS NOT NULL), '{}') AS keys,
       coalesce(array_agg(s.step ORDER BY p.key) FILTER (WHERE s.step IS NOT NULL), '{}') AS steps
  FROM page AS p
  LEFT JOIN pgbaton.stages AS s
    ON s.pipeline = $1 AND s.routed AND s.after = p.step AND p.status = 'done'
   AND pg_column_size(p.key) <= 2640  -- as the trigger has it
   AND NOT EXISTS (SELECT FROM ONLY pgbaton.dispatches AS d
                    WHERE d.pipeline = $1 AND d.job_key = p.key::text
                      AND d.state IN ('available', 'running', 'retryable'))
   AND NOT EXISTS (SELECT FROM pgbaton.changes AS c WHERE c.pipeline = $1 AND c.job_key = p.key::text)
