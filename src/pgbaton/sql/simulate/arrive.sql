-- Simulated duties. $1 pipeline, $2 stage, $3 and $4 the state in which it is due, $5 job keys, $6 tenants, $7 priorities in
-- seconds, $8 the simulated time. ranked: the stage takes turns.
INSERT INTO pgbaton.due (pipeline, stage, job_key, tenant, step, status, created_at, rank)
SELECT $1, $2, n.job, n.tenant, $3, $4, $8::timestamptz,
       CASE WHEN s.takes_turns THEN $8::timestamptz + make_interval(secs => n.later) END
  FROM unnest($5::text[], $6::text[], $7::float8[]) AS n (job, tenant, later)
  JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.step = $2
