-- $1 who, $2 action, $3 pipeline, $4 the request, as JSON, $5 jobs that were agreed to (null: all), $6 why, $7 the act that it
-- undoes: the id of an act on many jobs that is about to begin.
INSERT INTO pgbaton.audit (who, action, pipeline, detail, total, reason, undoes, state, renewed_at)
VALUES ($1, $2, $3, $4::text::jsonb, $5, $6, $7, 'running', clock_timestamp())
RETURNING id
