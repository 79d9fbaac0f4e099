-- $1 pipeline: its limits, and what fills them. limit: the stage's step, that and a provider's account, or "pool " and a name.
SELECT s.step AS "limit", s.step AS stage, NULL::text AS pool, NULL::text AS account,
       s.concurrency, s.per_tenant, s.rate, s.rate_per_tenant, s.cost, s.pool AS of_pool,
       floor(s.ceiling)::integer AS ceiling, least(s.concurrency, floor(s.ceiling)::integer) AS size,
       (SELECT count(*) FROM pgbaton.calls AS c WHERE c.pipeline = s.pipeline AND c.slot = s.step)::integer AS used,
       CASE WHEN s.held_until > clock_timestamp()
            THEN extract(epoch FROM s.held_until - clock_timestamp())::float8 END AS held_for,
       s.held_until, s.operated <> '{}' AS operated, s.position,
       pgbaton.allowed_in(s.rate, (SELECT b.until FROM pgbaton.spent AS b
                                    WHERE b.pipeline = s.pipeline AND b.stage = s.step AND b.tenant = ''),
                          clock_timestamp()) AS rate_in
  FROM pgbaton.stages AS s
 WHERE s.pipeline = $1 AND s.routed
   AND (num_nonnulls(s.concurrency, s.per_tenant, s.rate, s.rate_per_tenant, s.pool, s.ceiling) > 0 OR s.operated <> '{}')
UNION ALL
SELECT s.step || ' ' || a.account, s.step, NULL, a.account, NULL, NULL, NULL, NULL, NULL, NULL,
       floor(a.ceiling)::integer, floor(a.ceiling)::integer,
       (SELECT count(*) FROM pgbaton.calls AS c
         WHERE c.pipeline = s.pipeline AND c.slot = s.step AND c.account = a.account)::integer,
       CASE WHEN a.held_until > clock_timestamp() THEN extract(epoch FROM a.held_until - clock_timestamp())::float8 END,
       a.held_until, false, s.position, NULL
  FROM pgbaton.accounts AS a
  JOIN pgbaton.stages AS s ON s.pipeline = a.pipeline AND s.step = a.stage AND s.routed
 WHERE a.pipeline = $1
UNION ALL
SELECT 'pool ' || p.name, NULL, p.name, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, p.size, pgbaton.pool_use(p.name), NULL, NULL, p.operated IS NOT NULL, 10000, NULL
  FROM pgbaton.pools AS p
 WHERE EXISTS (SELECT FROM pgbaton.stages AS s WHERE s.pipeline = $1 AND s.routed AND s.pool = p.name)
 ORDER BY position, "limit"
