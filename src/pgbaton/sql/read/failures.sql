-- $1 pipeline, $2 failed calls at most: the newest of the last ten minutes, with the workers that made them.
SELECT h.stage, h.job_key, h.tenant, pgbaton.error_group(h.error) AS error, left(h.error, 200) AS whole, h.outcome,
       w.name AS worker, w.version, w.base_url, extract(epoch FROM h.ended_at)::float8 AS at
  FROM (SELECT * FROM pgbaton.history AS h WHERE h.error IS NOT NULL ORDER BY h.id DESC, h.attempt DESC LIMIT $2) AS h
  LEFT JOIN pgbaton.workers AS w ON w.id = h.worker
 WHERE h.pipeline = $1 AND h.ended_at > statement_timestamp() - interval '10 minutes'
