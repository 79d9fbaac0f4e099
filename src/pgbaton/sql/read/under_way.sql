-- $1 pipeline (null: any): calls under way by pipeline, stage, worker (null: left to the stage, which works on), whether their
-- answer was lost, and age (in powers of two seconds); the oldest age and the latest end, in seconds from now.
-- One pass over the calls: no index tells those under way from those that wait, or each hop would pay
-- for it; and the whole is read better in its own order than in that of the pipelines.
SELECT c.pipeline, c.stage, CASE WHEN c.deadline IS NULL THEN c.worker END AS worker,
       c.deadline IS NOT NULL AND c.outcome = 'unknown' AS lost,
       floor(log(2, greatest(extract(epoch FROM statement_timestamp() - c.started_at), 1)))::integer AS power,
       count(*) AS calls, max(extract(epoch FROM statement_timestamp() - c.started_at))::float8 AS oldest,
       max(extract(epoch FROM coalesce(c.deadline, c.started_at + s.timeout) - statement_timestamp()))::float8 AS until
  FROM pgbaton.calls AS c
  LEFT JOIN pgbaton.stages AS s ON s.pipeline = c.pipeline AND s.step = c.stage
 WHERE c.due_at IS NULL AND ($1::text IS NULL OR c.pipeline || '' = $1)
 GROUP BY 1, 2, 3, 4, 5
