-- As among_ended, where only the dead and the cancelled are wanted: few among many, and they have an index of their own.
SELECT d.* FROM pgbaton.stages AS s
 CROSS JOIN unnest($3::text[]) AS wanted (state)
 CROSS JOIN LATERAL (
        SELECT d.id, d.pipeline, d.job_key, d.tenant, d.stage, d.state, d.attempt, d.failures, d.created_at,
               d.created_at AS available_at, d.ended_at AS settled_at, false AS parked
          FROM pgbaton.history AS d
         WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.state = wanted.state AND d.state IN ('dead', 'cancelled') AND
{matching}
         ORDER BY d.id DESC
         LIMIT $12) AS d
 WHERE ($1::text IS NULL OR s.pipeline = $1) AND ($2::text[] IS NULL OR s.step = ANY ($2))
   AND wanted.state IN ('dead', 'cancelled')
