-- $1 pipeline (null: any), $2 where counting stops: the stages, their circuits, and how many of their dispatches are where, but
-- for those under way. Calls that wait are counted by the soonest $2 of them. The dead are those that nothing was
-- dispatched for since, among the newest $2. (A stage that puts its row back and rejects the job
-- leaves a duty from before that, which ends with the call.)
SELECT s.pipeline, s.step AS stage, s.after, s.position, s.routed, s.paused_at IS NOT NULL AS paused,
       p.paused_at IS NOT NULL AS pipeline_paused, s.attempts, s.kind,
       extract(epoch FROM s.timeout)::float8 AS timeout, s.concurrency, s.strikes, s.open_until,
       coalesce(s.open_until > statement_timestamp(), false) AS open,
       least((SELECT count(*) FROM (SELECT FROM pgbaton.due AS d
                                     WHERE d.pipeline = s.pipeline AND d.stage = s.step LIMIT $2) AS c) + w.fresh, $2) AS waiting,
       w.again AS retrying, w.put_off, w.put_off_in,
       (SELECT count(*) FROM (SELECT FROM pgbaton.calls AS c
                               WHERE c.pipeline = s.pipeline AND c.waits_for = s.step AND c.due_at = pgbaton.parked()
                               LIMIT $2) AS c) AS parked,
       (SELECT count(*) FROM (SELECT h.job_key, h.id, h.ended_at FROM pgbaton.history AS h
                               WHERE h.pipeline = s.pipeline AND h.stage = s.step AND h.state = 'dead'
                               ORDER BY h.id DESC LIMIT $2) AS c
         WHERE NOT EXISTS (SELECT FROM pgbaton.due AS n
                            WHERE n.job_key = c.job_key AND n.pipeline = s.pipeline AND n.stage <> '')
           AND NOT EXISTS (SELECT FROM pgbaton.calls AS n WHERE n.pipeline = s.pipeline AND n.job_key = c.job_key)
           AND NOT EXISTS (SELECT FROM pgbaton.history AS n
                            WHERE n.job_key = c.job_key AND n.pipeline = s.pipeline AND n.id > c.id
                              AND n.state IS NOT NULL AND (n.attempt > 0 OR n.created_at >= c.ended_at))) AS dead,
       (SELECT pgbaton.error_group(coalesce(h.error, h.outcome)) FROM pgbaton.history AS h
         WHERE h.pipeline = s.pipeline AND h.stage = s.step AND h.state = 'dead' ORDER BY h.id DESC LIMIT 1) AS dead_error,
       (SELECT pgbaton.error_group(coalesce(h.error, h.outcome)) FROM pgbaton.history AS h
         WHERE h.id = w.put_off_id AND h.called ORDER BY h.attempt DESC LIMIT 1) AS put_off_error,
       (SELECT pgbaton.error_group(coalesce(h.error, h.outcome)) FROM pgbaton.history AS h
         WHERE h.id = w.id AND h.attempt = w.attempt AND h.called) AS retry_error,
       extract(epoch FROM statement_timestamp() - least(
            (SELECT d.created_at FROM pgbaton.due AS d
              WHERE d.pipeline = s.pipeline AND d.stage = s.step ORDER BY d.id LIMIT 1),
            (SELECT c.due_at FROM pgbaton.calls AS c
              WHERE c.pipeline = s.pipeline AND c.waits_for = s.step AND c.due_at <= statement_timestamp()
              ORDER BY c.due_at LIMIT 1)))::float8 AS oldest_wait
  FROM pgbaton.stages AS s
  JOIN pgbaton.pipelines AS p ON p.name = s.pipeline
 CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE c.attempt = 0 OR c.outcome IN ('lost', 'released')) AS fresh,
               count(*) FILTER (WHERE c.attempt > 0 AND coalesce(c.outcome, '') NOT IN ('lost', 'released')) AS again,
               count(*) FILTER (WHERE c.outcome = 'deferred') AS put_off,
               extract(epoch FROM min(c.due_at) FILTER (WHERE c.outcome = 'deferred')
                                  - statement_timestamp())::float8 AS put_off_in,
               min(c.id) FILTER (WHERE c.outcome = 'deferred') AS put_off_id,
               min(c.id) FILTER (WHERE c.nth = 1) AS id, min(c.attempt) FILTER (WHERE c.nth = 1) AS attempt
          FROM (SELECT c.id, c.attempt, c.outcome, c.due_at,
                       row_number() OVER (ORDER BY (c.outcome = 'deferred') IS TRUE, c.due_at) AS nth
                  FROM pgbaton.calls AS c
                 WHERE c.pipeline = s.pipeline AND c.waits_for = s.step AND c.due_at < pgbaton.parked()
                 ORDER BY c.due_at
                 LIMIT $2) AS c) AS w
 WHERE $1::text IS NULL OR s.pipeline = $1
 ORDER BY s.pipeline, s.position
