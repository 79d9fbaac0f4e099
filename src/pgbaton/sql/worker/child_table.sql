-- $1 pipeline, $2 its parent's: its table and columns, and when that was last changed.
SELECT p.name, n.nspname AS schema, c.relname AS table, p.key_columns, p.step_column, p.status_column, p.statuses,
       p.parent, p.parent_key, format_type(a.atttypid, NULL) AS parent_key_type,
       (SELECT md5(string_agg(format('%s|%s|%s|%s', s.step, s.after, s.status, s.condition), ',' ORDER BY s.position))
          FROM pgbaton.stages AS s WHERE s.pipeline = p.name AND s.routed) || p.attached_at::text AS attached
  FROM pgbaton.pipelines AS p
  JOIN pg_class AS c ON c.oid = p.job_table
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = p.parent_key
 WHERE p.name = $1 AND p.parent = $2
