-- $1 pipeline, $2 tenant, $3 ids after this one, $4 at most: park what waits, so that claims need not. The last id looked
-- at (null: there are no more).
WITH paused AS MATERIALIZED (
    SELECT tenant FROM pgbaton.paused_tenants
     WHERE pipeline = $1 AND tenant = $2 AND resumed_at IS NULL
       FOR SHARE SKIP LOCKED
), page AS MATERIALIZED (
    SELECT d.id FROM ONLY pgbaton.dispatches AS d
     WHERE d.pipeline = $1 AND d.tenant = $2 AND left(d.tenant, 64) = left($2, 64) AND d.id > $3
       AND d.state IN ('available', 'retryable')
       AND d.available_at < pgbaton.parked() AND EXISTS (SELECT FROM paused)
     ORDER BY d.id
     LIMIT $4
), held AS MATERIALIZED (
    SELECT d.id FROM ONLY pgbaton.dispatches AS d
     WHERE d.id IN (SELECT id FROM page) AND d.state IN ('available', 'retryable')
       FOR NO KEY UPDATE SKIP LOCKED
), parked AS (
    UPDATE ONLY pgbaton.dispatches AS d SET available_at = pgbaton.parked() FROM held WHERE d.id = held.id RETURNING d.id
)
SELECT (SELECT max(id) FROM page) AS last, (SELECT count(*) FROM parked) AS parked
