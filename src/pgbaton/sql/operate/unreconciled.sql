-- $1 pipeline, $2 keys after this one (null: from the first), $3 rows to look at: the last key looked at, and those
-- of the rows that are in a routed state though there is neither a duty nor a call for it. $4: rows of the past, too.
WITH page AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY {walk}) AS nth, {job_key} AS key, {tenant} AS tenant, {present} AND {key_fits} AS fits,
           {step_text} AS step, {status_text} AS status, {routed_to} AS stage
      FROM {table} AS j
     WHERE $2::text IS NULL OR {behind($2::text)}
     ORDER BY {walk}
     LIMIT $3
)
SELECT (SELECT key FROM page ORDER BY nth DESC LIMIT 1) AS last,
       (SELECT count(*) FROM page) AS looked_at,
       coalesce(array_agg(p.key ORDER BY p.nth) FILTER (WHERE s.step IS NOT NULL), '{}') AS keys,
       coalesce(array_agg(s.step ORDER BY p.nth) FILTER (WHERE s.step IS NOT NULL), '{}') AS steps
  FROM page AS p
  LEFT JOIN pgbaton.stages AS s
    ON s.pipeline = $1 AND s.routed AND s.step = p.stage AND s.after = p.step AND s.status = p.status
   AND p.fits  -- as the trigger has it
   AND NOT EXISTS (SELECT FROM pgbaton.due AS d
                    WHERE d.job_key = p.key AND d.pipeline = $1 AND d.stage = s.step)
   AND NOT EXISTS (SELECT FROM pgbaton.calls AS c
                    WHERE c.pipeline = $1 AND c.job_key = p.key
                      AND c.stage IN (s.step, CASE p.status WHEN 'failed' THEN p.step END))
   AND pgbaton.is_live($1, p.key, p.tenant)
   AND ($4 OR NOT pgbaton.left_alone($1, p.key, p.step, p.status) AND NOT pgbaton.refused_at($1, p.key, s.step))
