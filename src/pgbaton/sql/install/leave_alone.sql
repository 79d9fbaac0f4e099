-- $1 pipeline, $2 keys, $3 their stages: these rows are left alone until they move.
INSERT INTO pgbaton.past (pipeline, job_key, step, status)
SELECT $1, k.job_key, s.after, s.status
  FROM unnest($2::text[], $3::text[]) AS k (job_key, stage)
  JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.step = k.stage
ON CONFLICT (pipeline, job_key) DO UPDATE SET step = EXCLUDED.step, status = EXCLUDED.status
