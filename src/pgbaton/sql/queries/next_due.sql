-- $1 pipeline, $2 known stages: seconds until something may be claimed that cannot be now (a retry, a circuit that
-- lets a probe through), null where nothing waits; and whether changes wait to be absorbed. Neither what is due nor what
-- is parked is read: there may be much of it.
SELECT extract(epoch FROM min(greatest(next.available_at, s.open_until)) - clock_timestamp())::float8 AS due,
       EXISTS (SELECT FROM pgbaton.changes AS c WHERE c.pipeline = $1) AS changes
  FROM pgbaton.stages AS s
 CROSS JOIN LATERAL (
        SELECT d.available_at FROM ONLY pgbaton.dispatches AS d
         WHERE d.pipeline = $1 AND d.stage = s.step AND d.state IN ('available', 'retryable')
           AND d.available_at > CASE WHEN s.open_until > statement_timestamp() THEN '-infinity'::timestamptz
                                     ELSE statement_timestamp() END
           AND d.available_at < pgbaton.parked()
         ORDER BY d.available_at
         LIMIT 1
       ) AS next
 WHERE s.pipeline = $1 AND s.step = ANY ($2::text[]) AND s.paused_at IS NULL
