-- $1 pipeline, $2 keys: these rows are not left alone any more.
DELETE FROM pgbaton.past AS p WHERE p.pipeline = $1 AND p.job_key = ANY ($2::text[])
