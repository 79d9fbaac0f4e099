-- $1 pipeline: whether it is paused, and its paused tenants (at most 100).
SELECT clock_timestamp() AS at, p.paused_at IS NOT NULL AS paused,
       ARRAY(SELECT t FROM (SELECT tenant, paused_at FROM pgbaton.paused_tenants
                             WHERE pipeline = p.name AND resumed_at IS NULL ORDER BY tenant LIMIT 100) t) AS tenants
  FROM pgbaton.pipelines AS p
 WHERE p.name = $1
