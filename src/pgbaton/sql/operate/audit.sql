-- $1 who, $2 action, $3 pipeline, $4 stage, $5 the job where it was one, $6 how many jobs, $7 the rest of the request, as
-- JSON, $8 the reason.
INSERT INTO pgbaton.audit (who, action, pipeline, stage, job_key, jobs, detail, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8)
