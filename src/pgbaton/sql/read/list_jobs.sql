-- A filter's parts as in matching (each null: any), $11 ids below this one, $12 at most: dispatches, newest first.
SELECT d.id, d.pipeline, d.job_key, d.tenant, d.stage, d.state, d.attempt, d.failures, d.created_at, d.available_at, d.settled_at,
       extract(epoch FROM clock_timestamp() - d.created_at)::float8 AS age,
       d.settled_at IS NULL AND d.available_at = pgbaton.parked() AS parked,
       t.outcome, t.http_status, t.error
  FROM {dispatches} AS d
  LEFT JOIN {attempts} AS t ON t.dispatch_id = d.id AND t.attempt = d.attempt
 WHERE
{matching}
 ORDER BY d.id DESC
 LIMIT $12
