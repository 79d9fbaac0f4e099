-- Calls that match, the newest first, with the duties that are kept in them. A call whose row has passed (stage, done) is
-- completed; of one that waits this is not asked: there may be a million.
SELECT d.id, d.pipeline, d.job_key, d.tenant, d.stage, d.state, d.attempt, d.failures, d.created_at, d.available_at,
       d.settled_at, d.parked
  FROM (SELECT e.*, c.pipeline, c.job_key, c.tenant, c.stage, c.due_at, c.error
          FROM pgbaton.calls AS c
         CROSS JOIN LATERAL (
                SELECT c.id,
                       CASE WHEN done.at IS NOT NULL THEN 'completed' WHEN c.due_at IS NULL THEN 'running'
                            WHEN c.attempt = 0 OR c.outcome IN ('lost', 'released') THEN 'available'
                            ELSE 'retryable' END AS state,
                       c.attempt, c.failures, c.created_at, coalesce(c.due_at, c.created_at) AS available_at,
                       done.at AS settled_at, coalesce(c.due_at = pgbaton.parked(), false) AS parked
                  FROM (SELECT min(n.created_at) AS at FROM pgbaton.due AS n
                         WHERE c.due_at IS NULL AND n.job_key = c.job_key AND n.pipeline = c.pipeline AND n.id > c.id
                           AND n.step = c.stage AND n.status = 'done') AS done
                UNION ALL
                SELECT c.next_id, 'available', 0, 0, c.next_at, c.next_at, NULL, false WHERE c.next_id IS NOT NULL) AS e
         WHERE ($1::text IS NULL OR c.pipeline = $1) AND ($8::text[] IS NULL OR c.job_key = ANY ($8))) AS d
 WHERE ($3::text[] IS NULL OR $3 && ARRAY['available', 'running', 'retryable']) AND
{matching}
 ORDER BY d.id DESC
 LIMIT $12
