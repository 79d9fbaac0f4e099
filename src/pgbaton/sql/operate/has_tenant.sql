-- Whether any job has the tenant $2: of the journal of pipeline $1, where an index finds it, or else of the table.
SELECT EXISTS (SELECT FROM pgbaton.paused_tenants AS p WHERE p.pipeline = $1 AND p.tenant = $2)
    OR EXISTS (SELECT FROM pgbaton.history AS h WHERE h.pipeline = $1 AND left(h.tenant, 64) = left($2, 64) AND h.tenant = $2)
    OR EXISTS (SELECT FROM pgbaton.due AS d WHERE d.pipeline = $1 AND d.tenant = $2)
    OR EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.tenant = $2)
    OR EXISTS (SELECT FROM {table} AS j WHERE {tenant} = $2)
