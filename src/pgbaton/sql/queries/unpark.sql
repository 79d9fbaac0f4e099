-- $1 pipeline, $2 at most: make due again what was parked for tenants that were resumed, and forget a tenant for whom
-- nothing is parked any more (its pause had ended before this statement began, so nothing is parked behind its back).
WITH resumed AS MATERIALIZED (
    SELECT tenant FROM pgbaton.paused_tenants WHERE pipeline = $1 AND resumed_at IS NOT NULL
), page AS MATERIALIZED (
    SELECT d.id, d.tenant
      FROM pgbaton.stages AS s
     CROSS JOIN LATERAL (
            SELECT id, tenant FROM ONLY pgbaton.dispatches AS n
             WHERE n.pipeline = $1 AND n.stage = s.step AND n.state IN ('available', 'retryable')
               AND n.available_at = pgbaton.parked() AND n.tenant IN (SELECT tenant FROM resumed)
             ORDER BY n.id
             LIMIT $2
           ) AS d
     WHERE s.pipeline = $1 AND EXISTS (SELECT FROM resumed)
), held AS MATERIALIZED (
    SELECT d.id FROM ONLY pgbaton.dispatches AS d
     WHERE d.id IN (SELECT id FROM page) AND d.available_at = pgbaton.parked() AND d.state IN ('available', 'retryable')
     ORDER BY d.id
       FOR NO KEY UPDATE SKIP LOCKED
), due AS (
    UPDATE ONLY pgbaton.dispatches AS d SET available_at = clock_timestamp() FROM held WHERE d.id = held.id RETURNING d.id
), ended AS (
    DELETE FROM pgbaton.paused_tenants AS p
     WHERE p.pipeline = $1 AND p.resumed_at IS NOT NULL AND p.tenant IN (SELECT tenant FROM resumed)
       AND p.tenant NOT IN (SELECT tenant FROM page) AND (SELECT count(*) FROM page) < $2
), woken AS (
    SELECT pg_notify('pgbaton_wake', $1) WHERE EXISTS (SELECT FROM due)
)
SELECT (SELECT count(*) FROM due) AS due, (SELECT count(*) FROM woken)
