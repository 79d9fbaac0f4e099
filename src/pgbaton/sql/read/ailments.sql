-- $1 pipeline (null: any): findings that counts do not show: a finding's code, its level, the pipeline (null: the
-- whole database) and its values.
SELECT 'read_only' AS code, 'bad' AS level, NULL::text AS pipeline,
       json_build_object('error', CASE WHEN pg_is_in_recovery() THEN 'standby'
                                       ELSE 'default_transaction_read_only' END)::text AS values
 WHERE pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean
UNION ALL
-- Commits that wait for a synchronous standby.
SELECT 'commits_wait', 'bad', NULL,
       json_build_object('count', c.count, 'age', c.age, 'standbys', current_setting('synchronous_standby_names'))::text
  FROM (SELECT count(*), max(extract(epoch FROM clock_timestamp() - a.state_change)) AS age
          FROM pg_stat_activity AS a
         WHERE a.wait_event = 'SyncRep' AND a.state_change < clock_timestamp() - interval '3 s') AS c
 WHERE c.count > 0
UNION ALL
SELECT 'looks_wait', 'warn', p.name,
       json_build_object('count', (SELECT count(*) FROM (SELECT FROM pgbaton.due AS d
                                                          WHERE d.pipeline = p.name AND d.stage = '' LIMIT 10001) AS c),
                         'age', extract(epoch FROM clock_timestamp() - oldest.created_at))::text
  FROM pgbaton.pipelines AS p
 CROSS JOIN LATERAL (SELECT d.created_at FROM pgbaton.due AS d
                      WHERE d.pipeline = p.name AND d.stage = '' ORDER BY d.id LIMIT 1) AS oldest
 WHERE ($1::text IS NULL OR p.name = $1) AND oldest.created_at < clock_timestamp() - interval '30 s'
UNION ALL
SELECT 'locked', 'bad', w.name,
       json_build_object('pid', holder.pid, 'who', concat_ws(', ', nullif(a.application_name, ''), a.state),
                         'table', w.job_table::text, 'age', extract(epoch FROM clock_timestamp() - w.since))::text
  FROM (SELECT p.name, p.job_table, l.pid, min(l.waitstart) AS since
          FROM pgbaton.pipelines AS p
          JOIN pg_locks AS l ON l.relation = p.job_table AND NOT l.granted
         WHERE ($1::text IS NULL OR p.name = $1)
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
         GROUP BY p.name, p.job_table, l.pid
         ORDER BY since
         LIMIT 1) AS w
 CROSS JOIN LATERAL (SELECT b.pid FROM unnest(pg_blocking_pids(w.pid)) AS b (pid) LIMIT 1) AS holder
  JOIN pg_stat_activity AS a ON a.pid = holder.pid
 WHERE w.since < clock_timestamp() - interval '3 s'
UNION ALL
-- Rows that one session has locked: another waits for them, or the session has been idle in its transaction. Workers never wait
-- for a row's lock: they come back to that job again and again.
SELECT 'rows_held', CASE WHEN h.waiting > 0 THEN 'bad' ELSE 'warn' END, h.name,
       json_build_object('pid', h.pid, 'who', concat_ws(', ', nullif(h.application_name, ''), h.state), 'table', h.job_table,
                         'age', h.age, 'waiting', h.waiting)::text
  FROM (SELECT p.name, p.job_table::text AS job_table, l.pid, a.application_name, a.state, w.waiting,
               greatest(w.age, CASE WHEN a.state LIKE 'idle in transaction%'
                                    THEN extract(epoch FROM clock_timestamp() - a.state_change) END) AS age
          FROM pgbaton.pipelines AS p
          JOIN (SELECT DISTINCT o.relation, o.pid FROM pg_locks AS o
                 WHERE o.locktype = 'relation' AND o.granted AND o.mode IN ('RowShareLock', 'RowExclusiveLock')
                   AND o.database = (SELECT oid FROM pg_database
                                      WHERE datname = current_database())) AS l ON l.relation = p.job_table
          JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.pid <> pg_backend_pid()
         CROSS JOIN LATERAL (SELECT count(*) AS waiting, extract(epoch FROM clock_timestamp() - min(x.waitstart)) AS age
                               FROM pg_locks AS x
                              WHERE NOT x.granted AND x.locktype IN ('transactionid', 'tuple')
                                AND x.waitstart < clock_timestamp() - interval '3 s'
                                AND l.pid = ANY (pg_blocking_pids(x.pid))) AS w
         WHERE ($1::text IS NULL OR p.name = $1)) AS h
 WHERE h.age > 5 OR h.waiting > 0
UNION ALL
SELECT t.ailment, 'bad', t.pipeline, json_build_object('worker', t.name, 'error', t.trouble)::text
  FROM (SELECT DISTINCT ON (w.pipeline, w.name) w.pipeline, w.name, w.ailment, w.trouble
          FROM pgbaton.workers AS w
         WHERE ($1::text IS NULL OR w.pipeline = $1) AND w.trouble_at > clock_timestamp() - interval '15 s'
         ORDER BY w.pipeline, w.name, w.trouble_at DESC) AS t
UNION ALL
SELECT 'connections_full', CASE WHEN c.taken >= c.most THEN 'bad' ELSE 'warn' END, NULL,
       json_build_object('count', c.taken, 'most', current_setting('max_connections'), 'who', c.who, 'theirs', c.theirs)::text
  FROM (SELECT sum(a.count) OVER () AS taken, a.count AS theirs, a.who,
               current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
               - coalesce(current_setting('reserved_connections', true)::integer, 0) AS most
          FROM (SELECT concat_ws(', ', s.usename, nullif(s.application_name, '')) AS who, count(*) AS count
                  FROM pg_stat_activity AS s WHERE s.datid IS NOT NULL GROUP BY 1) AS a
         ORDER BY a.count DESC LIMIT 1) AS c
 WHERE c.taken >= 0.9 * c.most
UNION ALL
-- A job that comes by the same stage again and again and never to the end, though no bound says how often: of the latest 200 that
-- ended and 200 calls. A row that is used again for each round of work comes to its end every time.
SELECT 'circling', 'bad', c.name,
       json_build_object('count', count(*), 'job', min(c.job_key), 'stage', (array_agg(c.stage ORDER BY c.job_key))[1],
                         'times', 10, 'age', max(c.age))::text
  FROM (SELECT p.name, j.job_key, r.stage, r.age
          FROM pgbaton.pipelines AS p
         CROSS JOIN LATERAL (
               SELECT l.job_key FROM (SELECT h.job_key, h.pipeline FROM pgbaton.history AS h
                                       ORDER BY h.ended_at DESC LIMIT 200) AS l
                WHERE l.pipeline = p.name
               UNION
               SELECT l.job_key FROM (SELECT o.job_key FROM pgbaton.calls AS o
                                       WHERE o.pipeline = p.name AND o.due_at IS NULL LIMIT 200) AS l) AS j
         CROSS JOIN LATERAL (
               SELECT min(g.stage) FILTER (WHERE g.often) AS stage, max(g.age) FILTER (WHERE g.often) AS age
                 FROM (SELECT n.stage, count(*) >= 10 AND max(n.ended_at) > statement_timestamp() - interval '1 min' AS often,
                              extract(epoch FROM clock_timestamp() - min(n.ended_at)) AS age,
                              EXISTS (SELECT FROM pgbaton.stages AS s
                                       WHERE s.pipeline = p.name AND s.routed AND s.after = n.stage) AS goes_on
                         FROM (SELECT h.stage, h.state, h.ended_at FROM pgbaton.history AS h
                                WHERE h.job_key = j.job_key AND h.pipeline = p.name
                                  AND h.ended_at > statement_timestamp() - interval '1 h'
                                ORDER BY h.id DESC
                                LIMIT 25 * (SELECT count(*) FROM pgbaton.stages AS s WHERE s.pipeline = p.name AND s.routed)) AS n
                        WHERE n.state = 'completed'
                        GROUP BY n.stage) AS g
               HAVING bool_and(g.goes_on)) AS r
         WHERE ($1::text IS NULL OR p.name = $1) AND r.stage IS NOT NULL
           AND NOT EXISTS (SELECT FROM pgbaton.rounds AS b WHERE b.pipeline = p.name AND b.job_key = j.job_key)) AS c
 GROUP BY c.name
UNION ALL
SELECT 'notification_queue', 'warn', NULL, json_build_object('percent', round(100 * pg_notification_queue_usage()))::text
 WHERE pg_notification_queue_usage() > 0.5
UNION ALL
SELECT 'old_snapshot', 'warn', NULL,
       json_build_object('who', h.who, 'age', h.age, 'detail', h.detail, 'end', h.remedy)::text
  FROM (
    SELECT format('session %s of %s', a.pid, a.usename) AS who, extract(epoch FROM clock_timestamp() - a.xact_start) AS age,
           a.state AS detail, format('SELECT pg_terminate_backend(%s)', a.pid) AS remedy
      FROM pg_stat_activity AS a
     WHERE a.backend_xmin IS NOT NULL AND a.xact_start < clock_timestamp() - interval '10 minutes'
       AND a.backend_type = 'client backend'
    UNION ALL
    SELECT format('the prepared transaction %s', x.gid), extract(epoch FROM clock_timestamp() - x.prepared), x.owner,
           format('ROLLBACK PREPARED %L', x.gid)
      FROM pg_prepared_xacts AS x
     WHERE x.prepared < clock_timestamp() - interval '10 minutes'
  ) AS h
UNION ALL
SELECT 'index_missing', 'bad', NULL, json_build_object('index', wanted.name)::text
  FROM unnest(ARRAY['due_of_stage', 'due_of_job', 'due_in_turn', 'due_not_yet',
                    'calls_waiting_in_turn', 'calls_pkey', 'calls_waiting', 'calls_left', 'calls_slots', 'history_attempts',
                    'history_ends', 'history_of_job', 'history_of_tenant', 'history_lately', 'history_troubled',
                    'history_failed', 'stages_one_route_per_state']) AS wanted (name)
  LEFT JOIN (pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'pgbaton'
             JOIN pg_index AS i ON i.indexrelid = c.oid) ON c.relname = wanted.name
 WHERE i.indisvalid IS NOT TRUE
