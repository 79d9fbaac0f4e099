-- $1 pipeline, $2 keys after this one (null: from the first), $3 rows to look at: a page of the user's table beside the
-- journal, in one snapshot. How many of its rows are in which state; fault: missing (due at stage, without duty or call), or
-- unheld (stage is running, and nothing of the job is in the journal).
WITH page AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY {walk}) AS nth, {job_key} AS key, {present} AND {key_fits} AS fits,
           {tenant} AS tenant, {step_text} AS step, {status_text} AS status, {routed_to} AS routed_to
      FROM {table} AS j
     WHERE $2::text IS NULL OR {behind($2::text)}
     ORDER BY {walk}
     LIMIT $3
), judged AS (
    SELECT p.nth, p.key, p.step, p.status, coalesce(d.step, r.step) AS stage,
           CASE WHEN coalesce(d.step, r.step) IS NULL OR NOT p.fits THEN NULL  -- the trigger leaves those alone
                WHEN EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.job_key = p.key) THEN NULL
                WHEN EXISTS (SELECT FROM pgbaton.due AS o WHERE o.job_key = p.key AND o.pipeline = $1) THEN NULL
                WHEN NOT pgbaton.is_live($1, p.key, p.tenant) OR pgbaton.refused_at($1, p.key, coalesce(d.step, r.step))
                     OR d.step IS NOT NULL AND pgbaton.left_alone($1, p.key, p.step, p.status) THEN NULL
                WHEN d.step IS NOT NULL THEN 'missing' ELSE 'unheld' END AS fault
      FROM page AS p
      LEFT JOIN pgbaton.stages AS d ON d.pipeline = $1 AND d.routed AND d.step = p.routed_to
      LEFT JOIN pgbaton.stages AS r ON r.pipeline = $1 AND r.step = p.step AND p.status = 'running'
), counted AS (
    SELECT step, status, stage, fault, count(*) AS count, (array_agg(key ORDER BY nth))[1:5] AS examples
      FROM judged GROUP BY step, status, stage, fault
)
SELECT (SELECT count(*) FROM page) AS looked_at, (SELECT key FROM page ORDER BY nth DESC LIMIT 1) AS last,
       (SELECT coalesce(json_agg(json_build_array(step, status, stage, fault, count, examples)), '[]')
          FROM counted)::text AS found,
       (SELECT coalesce(array_agg(key), '{}') FROM judged WHERE fault = 'missing') AS missing
