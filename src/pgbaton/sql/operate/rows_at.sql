-- $1 pipeline, $2 keys after this one (null: from the first), $3 rows to look at, $4 step, $5 status: the last key looked at, and
-- those of the rows that stand there and of which the journal holds nothing.
WITH page AS MATERIALIZED (
    SELECT j.{key} AS key, {step_text} AS step, {status_text} AS status
      FROM {table} AS j
     WHERE $2::text IS NULL OR j.{key} > $2::text::{key_type}
     ORDER BY j.{key}
     LIMIT $3
)
SELECT (SELECT count(*) FROM page) AS looked_at, (SELECT key::text FROM page ORDER BY key DESC LIMIT 1) AS last,
       ARRAY(SELECT p.key::text FROM page AS p
              WHERE p.step = $4 AND p.status = $5
                AND NOT EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.job_key = p.key::text)
                AND NOT EXISTS (SELECT FROM pgbaton.due AS d WHERE d.job_key = p.key::text AND d.pipeline = $1)
              ORDER BY p.key) AS keys
