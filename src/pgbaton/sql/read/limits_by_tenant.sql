-- $1 pipeline, $2 tenants at most, $3 waiting jobs looked at, at most: of each stage with a limit, whose calls fill it and whose
-- jobs wait for it, as JSON [[tenant, count], ...], the most first.
SELECT s.step AS stage,
       (SELECT json_agg(json_build_array(f.tenant, f.calls) ORDER BY f.calls DESC, f.tenant)
          FROM (SELECT c.tenant, count(*) AS calls FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.slot = s.step
                 GROUP BY c.tenant ORDER BY count(*) DESC, c.tenant LIMIT $2) AS f)::text AS filled_by,
       (SELECT json_agg(json_build_array(w.tenant, w.jobs) ORDER BY w.jobs DESC, w.tenant)
          FROM (SELECT n.tenant, count(*) AS jobs
                  FROM ((SELECT d.tenant FROM pgbaton.due AS d WHERE d.pipeline = $1 AND d.stage = s.step ORDER BY d.id LIMIT $3)
                        UNION ALL
                        (SELECT c.tenant FROM pgbaton.calls AS c
                          WHERE c.pipeline = $1 AND c.waits_for = s.step AND c.due_at <= statement_timestamp()
                          ORDER BY c.due_at LIMIT $3)) AS n
                 GROUP BY n.tenant ORDER BY count(*) DESC, n.tenant LIMIT $2) AS w)::text AS waited_by
  FROM pgbaton.stages AS s
 WHERE s.pipeline = $1 AND s.routed AND (s.governed OR s.concurrency IS NOT NULL)
