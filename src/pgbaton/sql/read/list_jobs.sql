-- A filter's parts as in matching, $12 at most: dispatches, newest first, with the latest attempt of each.
SELECT d.*, extract(epoch FROM clock_timestamp() - d.created_at)::float8 AS age, t.outcome, t.http_status, t.error
  FROM (SELECT * FROM (
        ({due})
        UNION ALL
        ({calls})
        UNION ALL
        ({ended})) AS d
         ORDER BY d.id DESC
         LIMIT $12) AS d
  LEFT JOIN LATERAL (
        SELECT h.outcome, h.http_status, h.error FROM pgbaton.history AS h
         WHERE h.id = d.id AND h.attempt = d.attempt AND h.called
        UNION ALL
        SELECT CASE d.state WHEN 'completed' THEN d.state ELSE c.outcome END, c.http_status, c.error FROM pgbaton.calls AS c
         WHERE c.pipeline = d.pipeline AND c.job_key = d.job_key AND c.id = d.id AND c.due_at IS NULL
         LIMIT 1) AS t ON true
 ORDER BY d.id DESC
