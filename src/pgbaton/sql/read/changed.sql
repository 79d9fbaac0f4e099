-- Changes of the pipelines' tables since they were attached, as a finding's code, the pipeline and its values.
SELECT 'table_gone' AS code, p.name AS pipeline, json_build_object('table', p.known ->> 'table')::text AS values
  FROM pgbaton.pipelines AS p
 WHERE NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = p.job_table)
UNION ALL
SELECT CASE WHEN EXISTS (SELECT FROM pg_class AS o JOIN pg_namespace AS m ON m.oid = o.relnamespace
                          WHERE m.nspname || '.' || o.relname = p.known ->> 'table')
            THEN 'table_swapped' ELSE 'table_renamed' END,
       p.name, json_build_object('table', p.known ->> 'table', 'now', n.nspname || '.' || c.relname)::text
  FROM pgbaton.pipelines AS p
  JOIN pg_class AS c ON c.oid = p.job_table
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname || '.' || c.relname <> p.known ->> 'table'
UNION ALL
SELECT CASE WHEN a.attisdropped THEN 'column_dropped' ELSE 'column_renamed' END, p.name,
       json_build_object('table', p.known ->> 'table', 'column', k.name,
                         'now', CASE WHEN NOT a.attisdropped THEN a.attname END)::text
  FROM pgbaton.pipelines AS p
 CROSS JOIN LATERAL jsonb_each_text(p.known -> 'columns') AS k (name, number)
  JOIN pg_attribute AS a ON a.attrelid = p.job_table AND a.attnum = k.number::smallint
 WHERE NOT EXISTS (SELECT FROM pg_attribute AS s WHERE s.attrelid = p.job_table AND s.attname = k.name AND NOT s.attisdropped)
 ORDER BY 1, 2, 3
