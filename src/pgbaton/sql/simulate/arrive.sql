-- Simulated duties. $1 pipeline, $2 stage, $3 the step behind which it comes, $4 job keys, $5 tenants, $6 priorities in seconds, $7
-- the simulated time. ranked: the stage takes turns.
INSERT INTO pgbaton.due (pipeline, stage, job_key, tenant, step, status, created_at, rank)
SELECT $1, $2, n.job, n.tenant, $3, 'done', $7::timestamptz, CASE WHEN s.takes_turns THEN $7::timestamptz + make_interval(secs => n.later) END
  FROM unnest($4::text[], $5::text[], $6::float8[]) AS n (job, tenant, later)
  JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.step = $2
