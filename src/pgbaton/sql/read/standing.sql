-- $1 pipeline, $2 job key, $3 where counting stops: the job's row, its newest dispatch, and what that waits for.
SELECT clock_timestamp() AS at, {row}, {updated_at} AS updated_at,
       d.id, d.stage, d.state, d.attempt, d.failures,
       d.available_at = pgbaton.parked() AS parked,
       extract(epoch FROM d.available_at - clock_timestamp())::float8 AS due_in,
       extract(epoch FROM d.deadline - clock_timestamp())::float8 AS given_up_in,
       extract(epoch FROM d.settled_at - d.created_at)::float8 AS lasted,
       t.outcome, t.http_status, t.error, extract(epoch FROM clock_timestamp() - t.started_at)::float8 AS since,
       t.started_at, d.deadline,
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
       pgbaton.left_alone($1, $2, {step_text}, {status_text}) AS left_alone, pgbaton.is_live($1, $2, {tenant}) AS live,
       pgbaton.at_home(p) AS at_home,
       EXISTS (SELECT FROM pgbaton.stages AS l WHERE l.pipeline = $1 AND l.step = {step_text}) AS of_a_stage,
       CASE WHEN d.state IN ('available', 'retryable') AND d.available_at <= statement_timestamp() THEN
           (SELECT count(*) FROM (SELECT FROM pgbaton.due AS b
                                   WHERE b.pipeline = $1 AND b.stage = d.stage AND b.id < d.id LIMIT $3) AS c)
         + (SELECT count(*) FROM (SELECT FROM pgbaton.calls AS b
                                   WHERE b.pipeline = $1 AND b.waits_for = d.stage AND b.due_at < d.available_at
                                   LIMIT $3) AS c)
       ELSE 0 END AS before,
       (SELECT count(*) FROM (SELECT FROM pgbaton.calls AS b
                               WHERE b.pipeline = $1 AND b.slot = d.stage LIMIT $3) AS c) AS running,
       CASE WHEN of_account.account IS NOT NULL THEN (SELECT count(*) FROM pgbaton.calls AS b
                                                       WHERE b.pipeline = $1 AND b.slot = d.stage
                                                         AND b.account = of_account.account)
       END AS running_of_account,
       floor(CASE WHEN of_account.account IS NULL THEN s.ceiling ELSE of_account.ceiling END)::integer AS ceiling,
       of_account.account, s.takes_turns,
       s.pool, s.cost, pool.size AS pool_size, pool.used AS pool_used, pool.users AS pool_users,
       extract(epoch FROM coalesce(of_account.held_until, s.held_until) - clock_timestamp())::float8 AS held_for,
       coalesce(of_account.held_until, s.held_until) AS held_until,
       coalesce(own.per_tenant, tier.per_tenant, s.per_tenant) AS per_tenant,
       CASE WHEN s.governed THEN (SELECT count(*) FROM pgbaton.calls AS b
                                   WHERE b.pipeline = $1 AND b.slot = d.stage
                                     AND coalesce(b.tenant, '') COLLATE "C" = coalesce(d.tenant, '') COLLATE "C")
       END AS running_of_tenant,
       CASE WHEN s.takes_turns THEN (SELECT count(*) FROM (
            SELECT FROM pgbaton.due AS b
             WHERE b.pipeline = $1 AND b.stage = d.stage
               AND coalesce(b.tenant, '') COLLATE "C" = coalesce(d.tenant, '') COLLATE "C"
               AND b.rank IS NOT NULL AND (b.rank, b.id) < (SELECT o.rank, o.id FROM pgbaton.due AS o
                                                             WHERE o.job_key = $2 AND o.pipeline = $1 AND o.id = d.id)
             LIMIT $3) AS c) END AS before_of_tenant,
       pgbaton.allowed_in(s.rate, (SELECT b.until FROM pgbaton.spent AS b
                                    WHERE b.pipeline = $1 AND b.stage = d.stage AND b.tenant = ''), clock_timestamp()) AS rate_in,
       pgbaton.allowed_in(coalesce(own.rate_per_tenant, tier.rate_per_tenant, s.rate_per_tenant),
                          (SELECT b.until FROM pgbaton.spent AS b
                            WHERE b.pipeline = $1 AND b.stage = d.stage AND b.tenant = '=' || coalesce(d.tenant, '')),
                          clock_timestamp()) AS tenant_rate_in,
       (SELECT avg(extract(epoch FROM n.ended_at - n.started_at))::float8
          FROM (SELECT * FROM pgbaton.history AS h
                 WHERE h.ended_at > clock_timestamp() - interval '1 hour' ORDER BY h.ended_at DESC LIMIT 500) AS n
         WHERE n.pipeline = $1 AND n.stage = d.stage AND n.called AND n.outcome = 'completed') AS takes
  FROM pgbaton.pipelines AS p
  LEFT JOIN {table} AS j ON {job_is($2::text)}
  LEFT JOIN LATERAL (SELECT * FROM pgbaton.dispatches AS n
                      WHERE n.pipeline = $1 AND n.job_key = $2
                      ORDER BY n.attempt = 0 AND n.state = 'cancelled' AND EXISTS (  -- a duty that ended with a dead call
                                   SELECT FROM pgbaton.history AS h
                                    WHERE h.job_key = $2 AND h.pipeline = $1 AND h.stage = n.stage AND h.state = 'dead'
                                      AND h.ended_at = n.settled_at),
                               n.id DESC
                      LIMIT 1) AS d ON true
  LEFT JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.step = d.stage
  LEFT JOIN LATERAL (
        SELECT h.outcome, h.http_status, h.error, h.started_at FROM pgbaton.history AS h
         WHERE h.job_key = $2 AND h.id = d.id AND h.attempt = d.attempt AND h.called
        UNION ALL
        SELECT c.outcome, c.http_status, c.error, c.started_at FROM pgbaton.calls AS c
         WHERE c.pipeline = $1 AND c.job_key = $2 AND c.id = d.id AND c.due_at IS NULL
         LIMIT 1) AS t ON true
  LEFT JOIN pgbaton.workers AS w ON w.id = d.worker
  LEFT JOIN pgbaton.tenants AS own ON own.pipeline = $1 AND own.tenant = coalesce(d.tenant, '')
  LEFT JOIN LATERAL (
        SELECT o.account, o.tier FROM pgbaton.due AS o WHERE o.job_key = $2 AND o.pipeline = $1 AND o.id = d.id
        UNION ALL
        SELECT o.account, o.tier FROM pgbaton.calls AS o WHERE o.pipeline = $1 AND o.job_key = $2 AND o.id = d.id
         LIMIT 1) AS lane ON true
  LEFT JOIN pgbaton.tiers AS tier ON tier.pipeline = $1 AND tier.tier = lane.tier
  LEFT JOIN pgbaton.accounts AS of_account
    ON of_account.pipeline = $1 AND of_account.stage = d.stage AND of_account.account = lane.account
  LEFT JOIN LATERAL (
        SELECT o.size, pgbaton.pool_use(o.name) AS used,
               (SELECT string_agg(format('%s of %s', c.running, u.step), ', ' ORDER BY u.pipeline, u.position)
                  FROM pgbaton.stages AS u
                 CROSS JOIN LATERAL (SELECT count(*) AS running FROM pgbaton.calls AS n
                                      WHERE n.pipeline = u.pipeline AND n.slot = u.step) AS c
                 WHERE u.pool = o.name AND c.running > 0) AS users
          FROM pgbaton.pools AS o WHERE o.name = s.pool) AS pool ON true
 WHERE p.name = $1
