-- $1 pipeline, $2 job keys: all that there is of each job, in one snapshot: its row, its call, its duties and looks.
SELECT k.key AS job_key, {row},
       c.id, c.stage, c.entry, c.attempt, c.failures, c.run, c.worker, c.seen, c.next_id, c.next_at,
       c.due_at IS NOT NULL AS waiting, c.due_at = pgbaton.parked() AS parked, c.deadline IS NOT NULL AS is_left,
       coalesce(c.deadline <= clock_timestamp(), false) AS overdue,
       coalesce(pgbaton.alive(w), false) AS alive,
       extract(epoch FROM clock_timestamp() - c.created_at)::float8 AS age,
       EXISTS (SELECT FROM pgbaton.paused_tenants AS p
                WHERE p.pipeline = $1 AND p.tenant = {tenant} AND p.resumed_at IS NULL) AS paused,
       (SELECT json_agg(json_build_array(d.id, d.stage, d.step, d.status, d.created_at) ORDER BY d.id)
          FROM pgbaton.due AS d WHERE d.job_key = k.key AND d.pipeline = $1)::text AS duties
  FROM unnest($2::text[]) AS k (key)
  LEFT JOIN {table} AS j ON j.{key} = k.key::{key_type}
  LEFT JOIN pgbaton.calls AS c ON c.pipeline = $1 AND c.job_key = k.key
  LEFT JOIN pgbaton.workers AS w ON w.id = c.worker
