-- $1 pipeline, $2 at most: make calls due again that were parked for tenants that were resumed, and forget a tenant without
-- a parked call (its pause had ended before this statement began, so nothing is parked behind its back).
WITH resumed AS MATERIALIZED (
    SELECT tenant FROM pgbaton.paused_tenants WHERE pipeline = $1 AND resumed_at IS NOT NULL
), page AS MATERIALIZED (
    SELECT c.tid, c.tenant
      FROM pgbaton.stages AS s
     CROSS JOIN LATERAL (
            SELECT n.ctid AS tid, n.tenant FROM pgbaton.calls AS n
             WHERE n.pipeline = $1 AND n.waits_for = s.step AND n.due_at = pgbaton.parked()
               AND n.tenant IN (SELECT tenant FROM resumed)
             LIMIT $2
               FOR UPDATE SKIP LOCKED
           ) AS c
     WHERE s.pipeline = $1 AND EXISTS (SELECT FROM resumed)
), due AS (
    UPDATE pgbaton.calls AS c SET due_at = clock_timestamp() WHERE c.ctid = ANY (ARRAY(SELECT tid FROM page)) RETURNING 1
), ended AS (
    DELETE FROM pgbaton.paused_tenants AS p
     WHERE p.pipeline = $1 AND p.resumed_at IS NOT NULL AND p.tenant IN (SELECT tenant FROM resumed)
       AND p.tenant NOT IN (SELECT tenant FROM page) AND (SELECT count(*) FROM page) < $2
), woken AS (
    SELECT pg_notify('pgbaton_wake', $1) WHERE EXISTS (SELECT FROM due)
)
SELECT (SELECT count(*) FROM due) AS due, (SELECT count(*) FROM woken)
