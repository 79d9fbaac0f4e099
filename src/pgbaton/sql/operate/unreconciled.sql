-- $1 pipeline, $2 keys after this one (null: from the first), $3 rows to look at: the last key looked at, and those
-- of the rows that are in a routed state though there is neither a duty nor a call for it.
WITH page AS MATERIALIZED (
    SELECT j.{key} AS key, {step_text} AS step, {status_text} AS status, {routed_to} AS stage
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
    ON s.pipeline = $1 AND s.routed AND s.step = p.stage AND s.after = p.step AND s.status = p.status
   AND pg_column_size(p.key) <= 2640  -- as the trigger has it
   AND NOT EXISTS (SELECT FROM pgbaton.due AS d
                    WHERE d.job_key = p.key::text AND d.pipeline = $1 AND d.stage = s.step)
   AND NOT EXISTS (SELECT FROM pgbaton.calls AS c
                    WHERE c.pipeline = $1 AND c.job_key = p.key::text
                      AND c.stage IN (s.step, CASE p.status WHEN 'failed' THEN p.step END))
