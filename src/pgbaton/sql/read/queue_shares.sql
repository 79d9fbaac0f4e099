-- $1 pipeline, $2 stage, $3 duties at most: the tenants of the oldest of those that wait.
SELECT d.tenant, count(*) AS count
  FROM (SELECT d.tenant FROM pgbaton.due AS d WHERE d.pipeline = $1 AND d.stage = $2 ORDER BY d.id LIMIT $3) AS d
 WHERE d.tenant IS NOT NULL
 GROUP BY d.tenant ORDER BY 2 DESC LIMIT 1
