-- $1 pipeline, $2 at most: make duties that are not to be called yet calls that wait until then. Only of jobs of which there is
-- one duty and nothing else; the others are named (once their time has come, at the latest), to be looked at.
WITH page AS MATERIALIZED (
    SELECT d.ctid AS tid, d.*
      FROM pgbaton.due AS d
     WHERE d.pipeline = $1 AND d.not_before IS NOT NULL
     ORDER BY d.not_before
     LIMIT $2
       FOR UPDATE SKIP LOCKED
), plain AS MATERIALIZED (
    SELECT p.* FROM page AS p
     WHERE NOT EXISTS (SELECT FROM pgbaton.due AS o WHERE o.job_key = p.job_key AND o.pipeline = $1 AND o.id <> p.id)
       AND NOT EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.job_key = p.job_key OFFSET 0)
), waits AS (
    INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, tenant, run, attempt, created_at, due_at, waits_for,
                               account, tier)
    SELECT $1, p.job_key, p.id, p.stage, p.step, p.tenant, p.id, 0, p.created_at, p.not_before, p.stage, p.account, p.tier
      FROM plain AS p
        ON CONFLICT DO NOTHING
    RETURNING id
), gone AS (
    DELETE FROM pgbaton.due AS d
     WHERE d.ctid = ANY (ARRAY(SELECT p.tid FROM plain AS p WHERE p.id IN (SELECT id FROM waits)))
)
SELECT (SELECT count(*) FROM waits) AS count,
       ARRAY(SELECT p.job_key FROM page AS p WHERE p.id NOT IN (SELECT l.id FROM plain AS l) LIMIT 200) AS others
