-- What keeps jobs from moving, as name, what is wrong, and its remedy.
SELECT 'no_worker' AS name, format('no worker is alive for the pipeline %s, and %s dispatches are due', p.name, due.n) AS what,
       'pgbaton run --config FILE' AS remedy
  FROM pgbaton.pipelines p
 CROSS JOIN LATERAL (SELECT count(*) AS n FROM pgbaton.dispatches d
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
SELECT 'stage_without_route', format('%s dispatches wait for the stage %s of %s, which is not in the pipeline any more',
                                     count(*), s.step, s.pipeline),
       'attach a pipeline that has the stage, or move their rows'
  FROM pgbaton.stages s JOIN pgbaton.dispatches d ON d.pipeline = s.pipeline AND d.stage = s.step
 WHERE NOT s.routed AND d.state IN ('available', 'retryable', 'running')
 GROUP BY s.step, s.pipeline
UNION ALL
SELECT 'orphaned_lease', format('%s running dispatches of %s belong to a worker whose lease lapsed over a minute ago',
                                count(*), d.pipeline),
       'start a worker: any worker rescues them'
  FROM pgbaton.dispatches d
  LEFT JOIN pgbaton.workers w ON w.id = d.worker
 WHERE d.state = 'running' AND d.worker IS NOT NULL
   AND coalesce(w.expires_at, '-infinity') < clock_timestamp() - interval '1 minute'
 GROUP BY d.pipeline
UNION ALL
SELECT 'notification_queue', format('the notification queue is %s %% full', round(100 * pg_notification_queue_usage())),
       'end the session that LISTENs inside an old transaction (pg_stat_activity, oldest xact_start)'
 WHERE pg_notification_queue_usage() > 0.5
