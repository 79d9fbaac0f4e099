-- Duties that match, the newest first: of each stage along its index, and no further than they are shown.
SELECT d.* FROM pgbaton.stages AS s
 CROSS JOIN LATERAL (
        SELECT d.id, d.pipeline, d.job_key, d.tenant, d.stage, d.state, 0 AS attempt, 0 AS failures, d.created_at,
               d.created_at AS available_at, d.settled_at, false AS parked
          FROM (SELECT o.*, CASE WHEN done.at IS NULL THEN 'available' ELSE 'completed' END AS state, done.at AS settled_at
                  FROM pgbaton.due AS o
                  LEFT JOIN LATERAL (
                        SELECT min(n.created_at) AS at FROM pgbaton.due AS n
                         WHERE n.job_key = o.job_key AND n.pipeline = o.pipeline AND n.id > o.id AND n.step = o.stage
                           AND n.status = 'done') AS done ON true
                 WHERE o.pipeline = s.pipeline AND o.stage = s.step) AS d
         WHERE
{matching}
         ORDER BY d.id DESC
         LIMIT $12) AS d
 WHERE ($1::text IS NULL OR s.pipeline = $1) AND ($2::text[] IS NULL OR s.step = ANY ($2))
   AND ($3::text[] IS NULL OR 'available' = ANY ($3))
