-- $1 pipeline, $2 tenant, $3 who, $4 why (null: not said): how many pauses that ended. Waits for claims that are just
-- parking for the tenant, and holds no lock while it does.
WITH resumed AS (
    UPDATE pgbaton.paused_tenants SET resumed_at = clock_timestamp()
     WHERE pipeline = $1 AND tenant = $2 AND resumed_at IS NULL
    RETURNING tenant
), written AS (
    INSERT INTO pgbaton.audit (who, action, pipeline, tenant, reason) SELECT $3, 'resume', $1, tenant, $4 FROM resumed
)
SELECT count(*) FROM resumed
