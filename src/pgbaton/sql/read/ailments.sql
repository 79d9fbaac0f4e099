-- $1 pipeline (null: any): what keeps jobs from moving that counts do not show: a finding's code, its level, the pipeline (null: the
-- whole database) and its values.
SELECT 'read_only' AS code, 'bad' AS level, NULL::text AS pipeline,
       json_build_object('error', CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'default_transaction_read_only' END)::text AS values
 WHERE pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean
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
       json_build_object('pid', holder.pid, 'who', concat_ws(', ', nullif(a.application_name, ''), a.state), 'table', w.job_table::text,
                         'age', extract(epoch FROM clock_timestamp() - w.since))::text
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
  FROM unnest(ARRAY['due_of_stage', 'due_of_job', 'due_in_turn', 'due_not_yet', 'calls_waiting_in_turn', 'calls_pkey', 'calls_waiting', 'calls_left', 'calls_slots', 'history_attempts',
                    'history_ends', 'history_of_job', 'history_of_tenant', 'history_lately', 'history_troubled',
                    'history_failed', 'stages_one_route_per_state']) AS wanted (name)
  LEFT JOIN (pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'pgbaton'
             JOIN pg_index AS i ON i.indexrelid = c.oid) ON c.relname = wanted.name
 WHERE i.indisvalid IS NOT TRUE
