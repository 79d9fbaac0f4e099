-- $1 pipeline, $2 keys after this one (null: from the first), $3 rows to look at, $4 step, $5 status: the last key looked at, and
-- those of the rows that stand there and of which the journal holds nothing.
WITH page AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY {walk}) AS nth, {job_key} AS key, {present} AND {key_fits} AS fits, {step_text} AS step,
           {status_text} AS status
      FROM {table} AS j
     WHERE $2::text IS NULL OR {behind($2::text)}
     ORDER BY {walk}
     LIMIT $3
)
SELECT (SELECT count(*) FROM page) AS looked_at, (SELECT key FROM page ORDER BY nth DESC LIMIT 1) AS last,
       ARRAY(SELECT p.key FROM page AS p
              WHERE p.step = $4 AND p.status = $5
                AND NOT EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.job_key = p.key)
                AND NOT EXISTS (SELECT FROM pgbaton.due AS d WHERE d.job_key = p.key AND d.pipeline = $1)
              ORDER BY p.nth) AS keys
