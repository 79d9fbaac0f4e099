-- $1 pipeline, $2 of each stage at most: the newest dead whose row is still failed there, or where the table refused to change
-- it, and that nothing was dispatched for since, grouped by stage and error.
WITH dead AS MATERIALIZED (
    SELECT d.*, s.after, s.status AS entry_status
      FROM pgbaton.stages AS s
     CROSS JOIN LATERAL (
            SELECT h.id, h.job_key, h.stage, h.attempt, h.called, h.error, h.ended_at,
                   h.outcome = 'refused' OR h.attempt = 0 AS refused FROM pgbaton.history AS h
             WHERE h.pipeline = $1 AND h.stage = s.step AND h.state = 'dead'
             ORDER BY h.id DESC
             LIMIT $2
           ) AS d
     WHERE s.pipeline = $1
), still AS MATERIALIZED (
    SELECT dead.id, dead.job_key, dead.stage, dead.ended_at,
           CASE WHEN dead.called THEN dead.error ELSE coalesce(dead.error, (
               SELECT t.error FROM pgbaton.history AS t
                WHERE t.id = dead.id AND t.attempt = dead.attempt AND t.called)) END AS error
      FROM dead
      JOIN {table} AS j ON {job_is(dead.job_key)}
     WHERE ({step_text} = dead.stage AND {status_text} = 'failed'
            OR dead.refused AND ({step_text} = dead.stage AND {status_text} = 'running'
                                 OR {step_text} = dead.after AND {status_text} = dead.entry_status))
       AND NOT EXISTS (SELECT FROM pgbaton.due AS n
                        WHERE n.job_key = dead.job_key AND n.pipeline = $1 AND n.stage <> '')
       AND NOT EXISTS (SELECT FROM pgbaton.calls AS n WHERE n.pipeline = $1 AND n.job_key = dead.job_key)
       AND NOT EXISTS (SELECT FROM pgbaton.history AS n
                        WHERE n.job_key = dead.job_key AND n.pipeline = $1 AND n.id > dead.id AND n.state IS NOT NULL
                          AND (n.attempt > 0 OR n.created_at >= dead.ended_at))
)
SELECT stage, pgbaton.error_group(error) AS error, count(*) AS count, max(ended_at) AS newest,
       extract(epoch FROM clock_timestamp() - max(ended_at))::float8 AS newest_age,
       (array_agg(error ORDER BY id DESC))[1] AS example, (array_agg(job_key ORDER BY id DESC))[1:5] AS jobs,
       (SELECT max(n) FROM (SELECT count(*) AS n FROM dead GROUP BY dead.stage) AS looked) AS looked_at
  FROM still
 GROUP BY stage, pgbaton.error_group(error)
 ORDER BY count(*) DESC, stage, 2
 LIMIT 500
