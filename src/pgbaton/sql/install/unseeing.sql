-- $1 pipeline: its triggers that are missing on its table, or disabled.
SELECT wanted.name
  FROM pgbaton.pipelines AS p
 CROSS JOIN unnest(p.triggers) AS wanted (name)
 WHERE p.name = $1
   AND NOT EXISTS (SELECT FROM pg_trigger AS t
                    WHERE t.tgrelid = p.job_table AND t.tgname = wanted.name AND t.tgenabled IN ('O', 'A'))
