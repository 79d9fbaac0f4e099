-- $1 pipeline, $2 tenant, $3 weight, $4 per_tenant, $5 rate_per_tenant (null: left as it is), $6 whether what was set is
-- forgotten first, $7 who, $8 why: the tenant's own limits from now on.
WITH changed AS (
    INSERT INTO pgbaton.tenants AS t (pipeline, tenant, weight, per_tenant, rate_per_tenant)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (pipeline, tenant) DO UPDATE
       SET weight = coalesce($3, CASE WHEN NOT $6 THEN t.weight END),
           per_tenant = coalesce($4, CASE WHEN NOT $6 THEN t.per_tenant END),
           rate_per_tenant = coalesce($5, CASE WHEN NOT $6 THEN t.rate_per_tenant END)
    RETURNING *
), written AS (
    INSERT INTO pgbaton.audit (who, action, pipeline, tenant, detail, reason)
    SELECT $7, 'limit', $1, tenant, jsonb_strip_nulls(jsonb_build_object(
           'weight', weight, 'per_tenant', per_tenant, 'rate_per_tenant', rate_per_tenant)), $8 FROM changed
), woken AS (
    SELECT pg_notify('pgbaton_wake', $1) FROM changed
)
SELECT weight, per_tenant, rate_per_tenant, (SELECT count(*) FROM woken) FROM changed
