-- What keeps jobs from moving, as name, what is wrong, and its remedy.
SELECT 'no_worker' AS name, format('no worker is alive for the pipeline %s, and %s dispatches are due', p.name, due.n) AS what,
       'pgbaton run --config FILE' AS remedy
  FROM pgbaton.pipelines p
 CROSS JOIN LATERAL (SELECT count(*) AS n FROM ONLY pgbaton.dispatches d
                      WHERE d.pipeline = p.name AND d.state IN ('available', 'retryable')
                        AND d.available_at <= clock_timestamp()) due
 WHERE due.n > 0
   AND NOT EXISTS (SELECT FROM pgbaton.workers w WHERE w.pipeline = p.name AND w.expires_at > clock_timestamp())
UNION ALL
SELECT 'paused', format('the pipeline %s is paused', name), format('pgbaton resume --pipeline %s', name)
  FROM pgbaton.pipelines WHERE paused_at IS NOT NULL
UNION ALL
SELECT 'paused', format('the stage %s of %s is paused', step, pipeline),
       format('pgbaton resume --pipeline %s --stage %s', pipeline, step)
  FROM pgbaton.stages WHERE paused_at IS NOT NULL
UNION ALL
SELECT 'paused', format('the tenant %s of %s is paused', tenant, pipeline),
       format('pgbaton resume --pipeline %s --tenant %s', pipeline, tenant)
  FROM pgbaton.paused_tenants WHERE resumed_at IS NULL
UNION ALL
SELECT 'stage_without_route', format('%s dispatches wait for the stage %s of %s, which is not in the pipeline any more',
                                     count(*), s.step, s.pipeline),
       'attach a pipeline that has the stage, or move their rows'
  FROM pgbaton.stages s JOIN ONLY pgbaton.dispatches d ON d.pipeline = s.pipeline AND d.stage = s.step
 WHERE NOT s.routed AND d.state IN ('available', 'retryable', 'running')
 GROUP BY s.step, s.pipeline
UNION ALL
SELECT 'orphaned_lease', format('%s running dispatches of %s belong to a worker whose lease lapsed over a minute ago',
                                count(*), d.pipeline),
       'start a worker: any worker rescues them'
  FROM ONLY pgbaton.dispatches d
  LEFT JOIN pgbaton.workers w ON w.id = d.worker
 WHERE d.state = 'running' AND d.worker IS NOT NULL
   AND coalesce(w.expires_at, '-infinity') < clock_timestamp() - interval '1 minute'
 GROUP BY d.pipeline
UNION ALL
SELECT 'notification_queue', format('the notification queue is %s %% full', round(100 * pg_notification_queue_usage())),
       'end the session that LISTENs inside an old transaction (pg_stat_activity, oldest xact_start)'
 WHERE pg_notification_queue_usage() > 0.5
UNION ALL
SELECT 'circuit_open', format('nobody answers at the stage %s of %s: it was found down %s times in a row', step, pipeline, strikes),
       'see to the stage; workers probe it by themselves every few seconds'
  FROM pgbaton.stages WHERE strikes > 0
UNION ALL
SELECT 'inbox_waits', format('%s changes of %s wait to be applied, the oldest for %s s', count(*), pipeline,
                             round(extract(epoch FROM clock_timestamp() - min(changed_at)))),
       'start a worker; if one runs: somebody holds the jobs'' rows (pg_stat_activity, oldest xact_start)'
  FROM pgbaton.changes
 GROUP BY pipeline
HAVING min(changed_at) < clock_timestamp() - interval '30 s'
UNION ALL
SELECT 'old_snapshot', format('%s holds back vacuum since %s s (%s)', holder, round(age), detail), remedy
  FROM (
    SELECT format('session %s of %s', a.pid, a.usename) AS holder, extract(epoch FROM clock_timestamp() - a.xact_start) AS age,
           a.state AS detail, format('end it: SELECT pg_terminate_backend(%s)', a.pid) AS remedy
      FROM pg_stat_activity a
     WHERE a.backend_xmin IS NOT NULL AND a.xact_start < clock_timestamp() - interval '10 minutes'
       AND a.backend_type = 'client backend'
    UNION ALL
    SELECT format('the prepared transaction %s', x.gid), extract(epoch FROM clock_timestamp() - x.prepared), x.owner,
           format('end it: ROLLBACK PREPARED %L', x.gid)
      FROM pg_prepared_xacts x
     WHERE x.prepared < clock_timestamp() - interval '10 minutes'
  ) AS holders
UNION ALL
SELECT 'index_missing', format('the index pgbaton.%s is missing or not valid', wanted.name),
       'REINDEX it, or create it as the migrations do'
  FROM unnest(ARRAY['dispatches_one_open', 'dispatches_due', 'dispatches_running', 'dispatches_troubled',
                    'settled_of_job', 'settled_of_tenant', 'settled_lately', 'settled_troubled',
                    'settled_troubled_newest', 'attempts_failed',
                    'stages_one_route_per_state']) AS wanted (name)
  LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'pgbaton'
             JOIN pg_index i ON i.indexrelid = c.oid) ON c.relname = wanted.name
 WHERE i.indisvalid IS NOT TRUE
