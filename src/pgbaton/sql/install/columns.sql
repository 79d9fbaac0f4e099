-- $1 schema, $2 table: its columns and their types. is_ambiguous: a value is written as a session is set, or in no plain
-- way. type: as values are cast before they
-- are assigned, that is without a length and beneath a domain, so that a value which does not fit is an error and is not cut.
WITH RECURSIVE beneath (oid, base, typmod) AS (
    SELECT t.oid, t.oid, NULL::integer FROM pg_type AS t WHERE t.typtype <> 'd'
    UNION ALL
    SELECT d.oid, b.base, coalesce(nullif(d.typtypmod, -1), b.typmod)
      FROM beneath AS b JOIN pg_type AS d ON d.typbasetype = b.oid AND d.typtype = 'd'
)
SELECT a.attname AS name, format_type(b.base, -1) AS type, a.attgenerated <> '' AS is_generated,
       CASE WHEN b.base IN ('varchar'::regtype, 'bpchar'::regtype)
            THEN coalesce(nullif(a.atttypmod, -1), b.typmod) - 4 END AS length,
       (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = b.base) AS labels,
       b.base IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'name'::regtype)
       OR EXISTS (SELECT FROM pg_enum AS e WHERE e.enumtypid = b.base)
       OR (SELECT t.typcategory = 'S' FROM pg_type AS t WHERE t.oid = b.base) AS is_text,
       ARRAY(SELECT pg_get_constraintdef(k.oid) FROM pg_constraint AS k
              WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum]) AS checks,
       a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype) AS is_time,
       b.base IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'time'::regtype) AS is_moment,
       b.base IN ('float4'::regtype, 'float8'::regtype, 'bytea'::regtype, 'interval'::regtype, 'money'::regtype,
                  'timetz'::regtype)
       OR (SELECT t.typcategory NOT IN ('B', 'D', 'E', 'I', 'N', 'S', 'U') FROM pg_type AS t
            WHERE t.oid = b.base) AS is_ambiguous,
       b.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) AS is_whole,
       b.base = 'timestamptz'::regtype AS is_timestamptz
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN beneath b ON b.oid = a.atttypid
 WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')
 ORDER BY a.attnum
