-- $1 pipeline: what the database has of it, as JSON: its settings, its stages with their open dispatches, its walk over rows
-- of the past, where it was attached.
SELECT (SELECT json_build_object('table', p.job_table::oid::text, 'key', p.key_columns, 'tenant', p.tenant_column,
                                 'step', p.step_column, 'status', p.status_column, 'channel', p.channel,
                                 'priority', p.priority_column, 'not_before', p.not_before_column, 'tier', p.tier_column,
                                 'tiers', (SELECT coalesce(json_object_agg(t.tier, json_strip_nulls(json_build_object(
                                                  'weight', t.weight, 'per_tenant', t.per_tenant,
                                                  'rate_per_tenant', t.rate_per_tenant))), '{}')
                                             FROM pgbaton.tiers AS t WHERE t.pipeline = p.name),
                                 'pools', (SELECT coalesce(json_object_agg(o.name, o.attached), '{}')
                                             FROM pgbaton.pools AS o
                                            WHERE o.name IN (SELECT s.pool FROM pgbaton.stages AS s
                                                              WHERE s.pipeline = p.name AND s.routed)),
                                 'statuses', p.statuses)
          FROM pgbaton.pipelines AS p WHERE p.name = $1)::text AS settings,
       {table_literal}::regclass::oid::text AS table,
       (SELECT CASE WHEN p.home_database IS NULL THEN 'none' WHEN pgbaton.at_home(p) THEN 'here' ELSE 'elsewhere' END
          FROM pgbaton.pipelines AS p WHERE p.name = $1) AS home,
       (SELECT p.rollout::text FROM pgbaton.pipelines AS p WHERE p.name = $1) AS rollout,
       (SELECT json_agg(json_build_object('step', s.step, 'after', s.after, 'status', s.status, 'position', s.position,
                                          'timeout', extract(epoch FROM s.timeout)::float8, 'attempts', s.attempts,
                                          'limits', s.attached, 'takes_turns', s.takes_turns, 'advance', s.advance,
                                          'routed', s.routed, 'kind', s.kind, 'condition', s.condition, 'detail', s.detail,
                                          'open', (SELECT count(*) FROM pgbaton.due AS d
                                                    WHERE d.pipeline = $1 AND d.stage = s.step)
                                                  + (SELECT count(*) FROM pgbaton.calls AS c
                                                      WHERE c.pipeline = $1 AND c.stage = s.step)) ORDER BY s.position)
          FROM pgbaton.stages AS s WHERE s.pipeline = $1)::text AS stages,
       (SELECT a.mode FROM pgbaton.adoptions AS a WHERE a.pipeline = $1 AND a.ended_at IS NULL) AS adopting,
       (SELECT count(*) FROM pgbaton.past AS p WHERE p.pipeline = $1) AS left
