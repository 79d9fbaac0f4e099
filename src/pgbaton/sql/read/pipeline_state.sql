-- $1 pipeline, $2 where counting stops: whether it is paused, its paused tenants (at most 100), and its inbox.
SELECT clock_timestamp() AS at, p.paused_at IS NOT NULL AS paused,
       (SELECT count(*) FROM (SELECT FROM pgbaton.changes c WHERE c.pipeline = p.name LIMIT $2) c) AS inbox,
       ARRAY(SELECT t FROM (SELECT tenant, paused_at FROM pgbaton.paused_tenants
                             WHERE pipeline = p.name AND resumed_at IS NULL ORDER BY tenant LIMIT 100) t) AS tenants
  FROM pgbaton.pipelines AS p
 WHERE p.name = $1
