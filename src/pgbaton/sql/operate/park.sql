-- $1 pipeline, $2 tenant, $3 at most: park the waiting jobs of a tenant that is paused, so that claims need not step over them.
-- Only jobs of which there is one duty and nothing else; workers park the others as they come to them. Returns how many were
-- parked.
WITH paused AS MATERIALIZED (
    SELECT tenant FROM pgbaton.paused_tenants
     WHERE pipeline = $1 AND tenant = $2 AND resumed_at IS NULL
       FOR SHARE SKIP LOCKED
), page AS MATERIALIZED (
    SELECT d.* FROM pgbaton.stages AS s
     CROSS JOIN LATERAL (
            SELECT d.ctid AS tid, d.* FROM pgbaton.due AS d
             WHERE d.pipeline = $1 AND d.stage = s.step AND d.tenant = $2 AND EXISTS (SELECT FROM paused)
               AND NOT EXISTS (SELECT FROM pgbaton.due AS o WHERE o.job_key = d.job_key AND o.pipeline = $1 AND o.id <> d.id)
               AND NOT EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.job_key = d.job_key)
             LIMIT $3
               FOR UPDATE SKIP LOCKED) AS d
     WHERE s.pipeline = $1
     LIMIT $3
), parked AS (
    INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, tenant, run, attempt, created_at, due_at, waits_for,
                               account, tier)
    SELECT $1, p.job_key, p.id, p.stage, p.step, p.tenant, p.id, 0, p.created_at, pgbaton.parked(), p.stage, p.account, p.tier
      FROM page AS p
        ON CONFLICT DO NOTHING
    RETURNING id
), gone AS (
    DELETE FROM pgbaton.due AS d
     WHERE d.ctid = ANY (ARRAY(SELECT p.tid FROM page AS p WHERE p.id IN (SELECT id FROM parked)))
)
SELECT count(*) FROM parked
