-- $1 pipeline, $2 of each stage at most: the newest dead whose row is still failed there and that nothing was dispatched
-- for since, grouped by stage and error.
WITH dead AS MATERIALIZED (
    SELECT d.id, d.job_key, d.stage, d.attempt, d.settled_at
      FROM pgbaton.stages AS s
     CROSS JOIN LATERAL (
            SELECT * FROM pgbaton.settled AS d
             WHERE d.pipeline = $1 AND d.stage = s.step AND d.state = 'dead'
             ORDER BY d.id DESC
             LIMIT $2
           ) AS d
     WHERE s.pipeline = $1
), still AS MATERIALIZED (
    SELECT dead.*, t.error
      FROM dead
      JOIN {table} AS j ON j.{key} = dead.job_key::{key_type}
      LEFT JOIN pgbaton.attempts AS t ON t.dispatch_id = dead.id AND t.attempt = dead.attempt
     WHERE j.{step}::text = dead.stage AND j.{status}::text = 'failed'
       AND NOT EXISTS (SELECT FROM pgbaton.dispatches AS n
                        WHERE n.job_key = dead.job_key AND n.pipeline = $1 AND n.id > dead.id)
)
SELECT stage, pgbaton.error_group(error) AS error, count(*) AS count, max(settled_at) AS newest,
       extract(epoch FROM clock_timestamp() - max(settled_at))::float8 AS newest_age,
       (array_agg(error ORDER BY id DESC))[1] AS example, (array_agg(job_key ORDER BY id DESC))[1:5] AS jobs,
       (SELECT max(n) FROM (SELECT count(*) AS n FROM dead GROUP BY dead.stage) AS looked) AS looked_at
  FROM still
 GROUP BY stage, pgbaton.error_group(error)
 ORDER BY count(*) DESC, stage, 2
 LIMIT 500
