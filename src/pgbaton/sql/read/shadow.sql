-- $1 pipeline, $2 stage (null: any), $3 ids below this one (null: from the newest), $4 at most: calls that were recorded in place
-- of being made, and what became of each by itself. reached_at: when a later record tells it.
SELECT s.id, s.stage, s.job_key, s.tenant, s.step, s.url, s.created_at,
       extract(epoch FROM later.at - s.created_at)::float8 AS seconds,
       CASE WHEN later.at IS NOT NULL OR j.step = s.stage AND j.status = 'done' THEN 'reached'
            WHEN j.present IS NOT TRUE THEN 'gone'
            WHEN j.step = s.stage AND j.status IN ('running', 'failed') THEN j.status
            WHEN j.step = s.step AND j.status = 'done' THEN 'waits'
            ELSE 'elsewhere' END AS became
  FROM pgbaton.shadow AS s
  LEFT JOIN LATERAL (SELECT {row} FROM {table} AS j WHERE {job_is(s.job_key)} OFFSET 0) AS j ON true
 CROSS JOIN LATERAL (
        -- From (stage, done) on: the record of the next stage, or a duty or call of a job that is called by now.
        SELECT least((SELECT n.created_at FROM pgbaton.shadow AS n
                       WHERE n.job_key = s.job_key AND n.pipeline = s.pipeline AND n.id > s.id AND n.step = s.stage
                       ORDER BY n.id LIMIT 1),
                     (SELECT min(n.created_at) FROM pgbaton.due AS n
                       WHERE n.job_key = s.job_key AND n.pipeline = s.pipeline AND n.step = s.stage AND n.status = 'done'
                         AND n.created_at > s.created_at),
                     (SELECT n.created_at FROM pgbaton.calls AS n
                       WHERE n.pipeline = s.pipeline AND n.job_key = s.job_key AND n.entry = s.stage
                         AND n.created_at > s.created_at)) AS at) AS later
 WHERE s.pipeline = $1 AND ($2::text IS NULL OR s.stage = $2) AND ($3::bigint IS NULL OR s.id < $3)
 ORDER BY s.id DESC
 LIMIT $4
