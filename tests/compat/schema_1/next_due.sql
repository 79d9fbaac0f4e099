-- $1 pipeline, $2 known stages: seconds until the next retry is due; null where none waits.
SELECT extract(epoch FROM min(next.available_at) - clock_timestamp())::float8
  FROM unnest($2::text[]) AS known (step)
 CROSS JOIN LATERAL (
        SELECT d.available_at FROM pgbaton.dispatches AS d
         WHERE d.pipeline = $1 AND d.stage = known.step AND d.state IN ('available', 'retryable')
           AND d.available_at > clock_timestamp()
         ORDER BY d.available_at
         LIMIT 1
       ) AS next
