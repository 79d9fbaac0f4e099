-- $1 pipeline, $2 known stages, $3 seconds since the last claim of calls that wait: seconds until something may be claimed
-- that could not be then (a call that waits, a circuit that lets a probe through), null where nothing waits. Calls that were
-- due at that claim, or are parked, are not read: there may be many.
SELECT extract(epoch FROM min(next.at) - clock_timestamp())::float8 AS due
  FROM pgbaton.stages AS s
 CROSS JOIN LATERAL (
        SELECT c.due_at AS at FROM (
            SELECT c.due_at FROM pgbaton.calls AS c
             WHERE c.pipeline = $1 AND c.waits_for = s.step AND c.due_at > statement_timestamp() - make_interval(secs => $3)
               AND c.due_at < pgbaton.parked()
             ORDER BY c.due_at
             LIMIT 1) AS c
        UNION ALL
        SELECT s.open_until
         WHERE s.open_until > statement_timestamp() - make_interval(secs => $3)
           AND (EXISTS (SELECT FROM pgbaton.due AS d WHERE d.pipeline = $1 AND d.stage = s.step)
                OR EXISTS (SELECT FROM pgbaton.calls AS c
                            WHERE c.pipeline = $1 AND c.waits_for = s.step AND c.due_at <= s.open_until))
       ) AS next
 WHERE s.pipeline = $1 AND s.step = ANY ($2::text[]) AND s.routed AND s.paused_at IS NULL
