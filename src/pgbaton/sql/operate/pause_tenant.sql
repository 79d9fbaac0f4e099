-- $1 pipeline, $2 tenant, $3 who, $4 why (null: not said): how many that changed.
WITH paused AS (
    INSERT INTO pgbaton.paused_tenants AS p (pipeline, tenant) VALUES ($1, $2)
    ON CONFLICT (pipeline, tenant) DO UPDATE SET paused_at = clock_timestamp(), resumed_at = NULL
     WHERE p.resumed_at IS NOT NULL
    RETURNING tenant
), written AS (
    INSERT INTO pgbaton.audit (who, action, pipeline, tenant, reason) SELECT $3, 'pause', $1, tenant, $4 FROM paused
)
SELECT count(*) FROM paused
