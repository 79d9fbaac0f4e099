-- $1 act, $2 keys that were changed, $3 their stages, $4 jobs looked at, $5 where the next batch begins, $6 whether this was
-- the last.
WITH kept AS (
    INSERT INTO pgbaton.audit_jobs (act, job_key, stage) SELECT $1, * FROM unnest($2::text[], $3::text[])
    ON CONFLICT DO NOTHING
)
UPDATE pgbaton.audit SET jobs = jobs + cardinality($2::text[]), seen = seen + $4, reached = $5, renewed_at = clock_timestamp(),
       state = CASE WHEN $6 THEN 'done' ELSE state END, ended_at = CASE WHEN $6 THEN clock_timestamp() END
 WHERE id = $1
