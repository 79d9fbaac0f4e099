-- $1 pipeline: write down changes since the last time: versions and addresses of the newest living worker, and the routes.
WITH now AS (
    SELECT v.what, v.is_now
      FROM (SELECT w.version, w.base_url FROM pgbaton.workers AS w
             WHERE w.pipeline = $1 AND w.version IS NOT NULL AND pgbaton.alive(w) ORDER BY w.id DESC LIMIT 1) AS w
     CROSS JOIN LATERAL (VALUES ('version', w.version), ('base_url', w.base_url)) AS v (what, is_now)
    UNION ALL
    SELECT 'routes', string_agg(s.after || ' → ' || s.step, ', ' ORDER BY s.position)
      FROM pgbaton.stages AS s WHERE s.pipeline = $1 AND s.routed
    HAVING count(*) > 0
), was AS (
    SELECT n.what, n.is_now, (SELECT d.is_now FROM pgbaton.deployments AS d
                               WHERE d.pipeline = $1 AND d.what = n.what ORDER BY d.id DESC LIMIT 1) AS was
      FROM now AS n
)
INSERT INTO pgbaton.deployments (pipeline, what, was, is_now)
SELECT $1, what, was, is_now FROM was WHERE is_now IS DISTINCT FROM was
RETURNING what
