-- $1 pipeline, $2 job key, $3 where counting stops: the job's row, its newest dispatch, and what that waits for.
SELECT clock_timestamp() AS at, {row}, {updated_at} AS updated_at,
       d.id, d.stage, d.state, d.attempt, d.failures,
       d.available_at = pgbaton.parked() AS parked,
       extract(epoch FROM d.available_at - clock_timestamp())::float8 AS due_in,
       extract(epoch FROM d.deadline - clock_timestamp())::float8 AS given_up_in,
       extract(epoch FROM d.settled_at - d.created_at)::float8 AS lasted,
       t.outcome, t.http_status, t.error, extract(epoch FROM clock_timestamp() - t.started_at)::float8 AS since,
       s.kind, s.detail, s.attempts, s.concurrency, s.routed, s.strikes, s.paused_at IS NOT NULL AS stage_paused,
       extract(epoch FROM s.timeout)::float8 AS timeout,
       extract(epoch FROM s.open_until - clock_timestamp())::float8 AS open_for,
       p.paused_at IS NOT NULL AS pipeline_paused,
       EXISTS (SELECT FROM pgbaton.paused_tenants AS pt
                WHERE pt.pipeline = $1 AND pt.tenant = d.tenant AND pt.resumed_at IS NULL) AS tenant_paused,
       EXISTS (SELECT FROM pgbaton.workers AS w
                WHERE w.pipeline = $1 AND NOT w.draining AND pgbaton.alive(w)) AS any_worker,
       d.worker IS NOT NULL AS held, w.name AS worker, coalesce(pgbaton.alive(w), false) AS worker_alive,
       ({step_text} = s.after AND {status_text} = s.status
        OR s.kind = 'call' AND {step_text} = d.stage AND {status_text} IN ('running', 'failed')) IS TRUE AS in_place,
       {routed_to} AS routed_to,
       pgbaton.left_alone($1, $2, {step_text}, {status_text}) AS left_alone, pgbaton.is_live($1, $2, {tenant}) AS live, pgbaton.at_home(p) AS at_home,
       EXISTS (SELECT FROM pgbaton.stages AS l WHERE l.pipeline = $1 AND l.step = {step_text}) AS of_a_stage,
       CASE WHEN d.state IN ('available', 'retryable') AND d.available_at <= statement_timestamp() THEN
           (SELECT count(*) FROM (SELECT FROM pgbaton.due AS b
                                   WHERE b.pipeline = $1 AND b.stage = d.stage AND b.id < d.id LIMIT $3) AS c)
         + (SELECT count(*) FROM (SELECT FROM pgbaton.calls AS b
                                   WHERE b.pipeline = $1 AND b.waits_for = d.stage AND b.due_at < d.available_at
                                   LIMIT $3) AS c)
       ELSE 0 END AS before,
       (SELECT count(*) FROM (SELECT FROM pgbaton.calls AS b
                               WHERE b.pipeline = $1 AND b.slot = d.stage LIMIT $3) AS c) AS running
  FROM pgbaton.pipelines AS p
  LEFT JOIN {table} AS j ON {job_is($2::text)}
  LEFT JOIN LATERAL (SELECT * FROM pgbaton.dispatches AS n
                      WHERE n.pipeline = $1 AND n.job_key = $2 ORDER BY n.id DESC LIMIT 1) AS d ON true
  LEFT JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.step = d.stage
  LEFT JOIN LATERAL (
        SELECT h.outcome, h.http_status, h.error, h.started_at FROM pgbaton.history AS h
         WHERE h.job_key = $2 AND h.id = d.id AND h.attempt = d.attempt AND h.called
        UNION ALL
        SELECT c.outcome, c.http_status, c.error, c.started_at FROM pgbaton.calls AS c
         WHERE c.pipeline = $1 AND c.job_key = $2 AND c.id = d.id AND c.due_at IS NULL
         LIMIT 1) AS t ON true
  LEFT JOIN pgbaton.workers AS w ON w.id = d.worker
 WHERE p.name = $1
