-- $1 pipeline, $2 tenant, $3 duties of a stage to look at from the front, $4 from the back, and where counting stops: by stage,
-- how many of the next $3 in line are the tenant's, and how many stand before the last one that it has there. unseen: it has
-- none among the newest $4, and between those and the next $3 may be more. No index leads to a tenant's duties (every write
-- would pay for it): without a bound, a tenant that has none at a stage costs the whole line.
SELECT s.step AS stage, line.next, line.theirs, newest.id IS NULL AND newest.looked >= $4 AND line.next >= $3 AS unseen,
       coalesce(calls.running, 0) AS running, coalesce(calls.waiting, 0) AS again,
       CASE WHEN coalesce(newest.id, line.id) IS NOT NULL THEN
           (SELECT count(*) FROM (SELECT FROM pgbaton.due AS b
                                   WHERE b.pipeline = $1 AND b.stage = s.step AND b.id < coalesce(newest.id, line.id)
                                   LIMIT $4) AS c) END AS before
  FROM pgbaton.stages AS s
 CROSS JOIN LATERAL (
        SELECT count(*) AS next, count(*) FILTER (WHERE d.tenant = $2) AS theirs, max(d.id) FILTER (WHERE d.tenant = $2) AS id
          FROM (SELECT d.id, d.tenant FROM pgbaton.due AS d
                 WHERE d.pipeline = $1 AND d.stage = s.step ORDER BY d.id LIMIT $3) AS d) AS line
 CROSS JOIN LATERAL (
        SELECT count(*) AS looked, max(d.id) FILTER (WHERE d.tenant = $2) AS id
          FROM (SELECT d.id, d.tenant FROM pgbaton.due AS d
                 WHERE d.pipeline = $1 AND d.stage = s.step ORDER BY d.id DESC LIMIT $4) AS d) AS newest
  LEFT JOIN (SELECT c.stage, count(*) FILTER (WHERE c.due_at IS NULL) AS running,
                    count(*) FILTER (WHERE c.due_at IS NOT NULL) AS waiting
               FROM pgbaton.calls AS c
              WHERE c.pipeline || '' = $1 AND c.tenant = $2
              GROUP BY c.stage) AS calls ON calls.stage = s.step
 WHERE s.pipeline = $1
 ORDER BY NOT s.routed, s.position
