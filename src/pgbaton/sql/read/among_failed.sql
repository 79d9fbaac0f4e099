-- As among_ended, of the dispatches that any attempt of failed, from $13 on.
SELECT d.id, d.pipeline, d.job_key, d.tenant, d.stage, d.state, d.attempt, d.failures, d.created_at,
       d.created_at AS available_at, d.ended_at AS settled_at, false AS parked
  FROM (SELECT DISTINCT h.id FROM pgbaton.history AS h
         WHERE h.error IS NOT NULL AND ($11::bigint IS NULL OR h.id < $11) AND h.id >= $13) AS failed
  JOIN pgbaton.history AS d ON d.id = failed.id AND d.state IS NOT NULL
 WHERE
{matching}
 ORDER BY d.id DESC
 LIMIT $12
