-- Dispatches that ended and match, the newest first.
SELECT d.id, d.pipeline, d.job_key, d.tenant, d.stage, d.state, d.attempt, d.failures, d.created_at,
       d.created_at AS available_at, d.ended_at AS settled_at, false AS parked
  FROM pgbaton.history AS d
 WHERE d.state IS NOT NULL
   AND ($5::float8 IS NULL
        OR d.id <= (SELECT pgbaton.last_ended_before(statement_timestamp() - make_interval(secs => $5)))) AND
{matching}
 ORDER BY d.id DESC
 LIMIT $12
