-- As among_ended, where tenants are named: each along its own index, and no further than they are shown.
SELECT d.* FROM pgbaton.pipelines AS p
 CROSS JOIN (SELECT DISTINCT t FROM unnest($4::text[]) AS t) AS wanted (tenant)
 CROSS JOIN LATERAL (
        SELECT d.id, d.pipeline, d.job_key, d.tenant, d.stage, d.state, d.attempt, d.failures, d.created_at,
               d.created_at AS available_at, d.ended_at AS settled_at, false AS parked
          FROM pgbaton.history AS d
         WHERE d.pipeline = p.name AND left(d.tenant, 64) = left(wanted.tenant, 64) AND d.tenant = wanted.tenant
           AND d.state IS NOT NULL
           AND (num_nonnulls($5::timestamptz, $14::float8) = 0
                OR d.id <= (SELECT pgbaton.last_ended_before(
                                   coalesce($5, statement_timestamp() - make_interval(secs => $14))))) AND
{matching}
         ORDER BY d.id DESC
         LIMIT $12) AS d
 WHERE ($1::text IS NULL OR p.name = $1)
