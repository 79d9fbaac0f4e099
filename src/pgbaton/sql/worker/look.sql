-- $1 pipeline, $2 job keys: the whole of each job, in one snapshot: its row, its call, its duties and looks.
SELECT k.key AS job_key, j.*,
       c.id, c.stage, c.entry, c.attempt, c.failures, c.run, c.worker, c.seen, c.next_id, c.next_at, c.missing,
       coalesce((SELECT r.taken FROM pgbaton.rounds AS r
                  WHERE r.pipeline = $1 AND r.job_key = k.key AND r.route = c.stage), 0) AS rounds,
       c.due_at IS NOT NULL AS waiting, c.due_at = pgbaton.parked() AS parked, c.deadline IS NOT NULL AS is_left,
       coalesce(c.deadline <= clock_timestamp(), false) AS overdue,
       coalesce((SELECT pgbaton.alive(w) FROM pgbaton.workers AS w WHERE w.id = c.worker), false) AS alive,
       extract(epoch FROM clock_timestamp() - c.created_at)::float8 AS age,
       EXISTS (SELECT FROM pgbaton.paused_tenants AS p
                WHERE p.pipeline = $1 AND p.tenant = j.tenant AND p.resumed_at IS NULL) AS paused,
       -- Where no dispatch of the job is open: the stage at which the table refused the row, if it did.
       CASE WHEN c.id IS NULL AND NOT EXISTS (SELECT FROM pgbaton.due AS d WHERE d.job_key = k.key AND d.pipeline = $1)
            THEN pgbaton.refused_stage($1, k.key) END AS refused,
       (SELECT json_agg(json_build_array(d.id, d.stage, d.step, d.status, d.created_at) ORDER BY d.id)
          FROM pgbaton.due AS d WHERE d.job_key = k.key AND d.pipeline = $1)::text AS duties
  FROM unnest($2::text[]) AS k (key)
  -- OFFSET keeps these from a plan that reads a table whole, as one made while it is empty may.
  LEFT JOIN LATERAL (SELECT {row} FROM {table} AS j WHERE {job_is(k.key)} OFFSET 0) AS j ON true
  LEFT JOIN LATERAL (SELECT * FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.job_key = k.key OFFSET 0) AS c ON true
