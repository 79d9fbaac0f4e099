-- Dispatches that ended and match, the newest first.
SELECT d.id, d.pipeline, d.job_key, d.tenant, d.stage, d.state, d.attempt, d.failures, d.created_at,
       d.created_at AS available_at, d.ended_at AS settled_at, false AS parked
  FROM pgbaton.history AS d
 WHERE d.state IS NOT NULL
   AND (num_nonnulls($5::timestamptz, $14::float8) = 0
        OR d.id <= (SELECT pgbaton.last_ended_before(coalesce($5, statement_timestamp() - make_interval(secs => $14))))) AND
{matching}
 ORDER BY d.id DESC
 LIMIT $12
