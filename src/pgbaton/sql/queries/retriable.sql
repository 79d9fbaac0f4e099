-- $1 pipeline, $2 job keys (null: any), $3 stage (null: any): the newest dispatch of each job, if it is dead or
-- waits for a retry, with its stage's entry state.
SELECT * FROM (
    SELECT DISTINCT ON (d.job_key) d.id, d.job_key, d.stage, d.state, s.after
      FROM pgbaton.dispatches d
      JOIN pgbaton.stages s ON s.pipeline = d.pipeline AND s.step = d.stage
     WHERE d.pipeline = $1 AND ($2::text[] IS NULL OR d.job_key = ANY ($2))
     ORDER BY d.job_key, d.id DESC
) AS newest
 WHERE state IN ('dead', 'retryable') AND ($3::text IS NULL OR stage = $3)
