-- $1 pipeline (null: any): calls under way by pipeline, stage and worker (null: left to the stage, which works on).
-- One pass over the calls: no index tells those under way from those that wait, or each hop would pay
-- for it; and the whole is read better in its own order than in that of the pipelines.
SELECT c.pipeline, c.stage, CASE WHEN c.deadline IS NULL THEN c.worker END AS worker, count(*) AS calls
  FROM pgbaton.calls AS c
 WHERE c.due_at IS NULL AND ($1::text IS NULL OR c.pipeline || '' = $1)
 GROUP BY 1, 2, 3
