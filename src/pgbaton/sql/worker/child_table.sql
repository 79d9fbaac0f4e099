-- $1 pipeline, $2 its parent's: its table and columns, and when that was last changed.
SELECT p.name, n.nspname AS schema, c.relname AS table, p.key_columns, p.step_column, p.status_column, p.statuses,
       p.parent, p.parent_key,
       ARRAY(SELECT format_type(a.atttypid, NULL)
               FROM unnest(p.parent_key) WITH ORDINALITY AS k (name, nth)
               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = k.name ORDER BY k.nth) AS parent_types,
       (SELECT md5(string_agg(format('%s|%s|%s|%s', s.step, s.after, s.status, s.condition), ',' ORDER BY s.position))
          FROM pgbaton.stages AS s WHERE s.pipeline = p.name AND s.routed) || p.attached_at::text AS attached
  FROM pgbaton.pipelines AS p
  JOIN pg_class AS c ON c.oid = p.job_table
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE p.name = $1 AND p.parent = $2
