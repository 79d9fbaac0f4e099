-- $1 pipeline, $2 job key, $3 dispatch ids, $4 at most: their attempts in order, the newest where there are too many. url:
-- where its worker called, as far as its row is kept.
SELECT * FROM (
    SELECT t.*, (SELECT t.base_url || (r.value ->> 2) FROM jsonb_array_elements(t.routes) AS r
                  WHERE r.value ->> 0 = t.stage LIMIT 1) AS url,
           extract(epoch FROM coalesce(t.finished_at, clock_timestamp()) - t.started_at)::float8 AS seconds
      FROM (
        SELECT h.id AS dispatch_id, h.attempt, coalesce(w.name, h.worker::text) AS worker, h.started_at,
               h.ended_at AS finished_at, h.outcome, h.http_status, h.error, h.answer,
               h.stage, w.base_url, w.routes
          FROM pgbaton.history AS h
          LEFT JOIN pgbaton.workers AS w ON w.id = h.worker
         WHERE h.job_key = $2 AND h.pipeline = $1 AND h.id = ANY ($3::bigint[]) AND h.called
        UNION ALL
        SELECT c.id, c.attempt, coalesce(w.name, c.worker::text), c.started_at, done.at,
               CASE WHEN done.at IS NOT NULL THEN 'completed' ELSE c.outcome END, c.http_status, c.error, c.answer, c.stage,
               w.base_url, w.routes
          FROM pgbaton.calls AS c
          LEFT JOIN pgbaton.workers AS w ON w.id = c.worker
          LEFT JOIN LATERAL (
                SELECT min(d.created_at) AS at FROM pgbaton.due AS d
                 WHERE d.job_key = c.job_key AND d.pipeline = c.pipeline AND d.id > c.id AND d.step = c.stage
                   AND d.status = 'done') AS done ON true
         WHERE c.pipeline = $1 AND c.job_key = $2 AND c.due_at IS NULL AND c.id = ANY ($3::bigint[])) AS t
     ORDER BY t.dispatch_id DESC, t.attempt DESC
     LIMIT $4) AS newest
 ORDER BY dispatch_id, attempt
