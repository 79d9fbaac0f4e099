-- $1 a table that triggers are put on (null: DDL on the schema pgbaton): the sessions whose locks that would wait for.
SELECT a.pid, coalesce(a.usename::text, '?') AS role, a.application_name AS application, a.state,
       extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.state_change, clock_timestamp()))::float8 AS seconds
  FROM (SELECT DISTINCT l.pid FROM pg_locks AS l
         WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND CASE WHEN $1::text IS NULL
               THEN l.relation IN (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('pgbaton') AND relkind = 'r')
               ELSE l.relation IN (to_regclass($1), to_regclass('pgbaton.migrations'))
                    AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') END) AS holder
  JOIN pg_stat_activity AS a USING (pid)
 ORDER BY a.xact_start NULLS LAST
