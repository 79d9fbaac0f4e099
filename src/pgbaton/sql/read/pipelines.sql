-- The attached pipelines and the names of their tables.
SELECT p.name, n.nspname AS schema, c.relname AS table, p.key_columns, p.tenant_column, p.step_column, p.status_column,
       p.statuses, p.channel, p.parent, p.parent_key, p.rollout::text AS rollout, p.priority_column, p.not_before_column,
       p.tier_column,
       (SELECT coalesce(json_agg(json_build_array(s.step, s.account) ORDER BY s.position), '[]') FROM pgbaton.stages AS s
         WHERE s.pipeline = p.name AND s.routed AND s.account IS NOT NULL)::text AS accounts,
       ARRAY(SELECT s.step FROM pgbaton.stages AS s
              WHERE s.pipeline = p.name AND s.routed AND s.takes_turns ORDER BY s.position) AS in_turn,
       'job_state_change_trigger' <> ALL (p.triggers) AS beside
  FROM pgbaton.pipelines p
  JOIN pg_class c ON c.oid = p.job_table
  JOIN pg_namespace n ON n.oid = c.relnamespace
 ORDER BY p.name
