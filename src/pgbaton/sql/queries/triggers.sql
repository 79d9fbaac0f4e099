-- $1 trigger names: how each stands on each attached table; enabled is null where it is missing.
SELECT p.name AS pipeline, p.job_table::text AS job_table, wanted.name AS trigger, t.tgenabled AS enabled
  FROM pgbaton.pipelines p
 CROSS JOIN unnest($1::text[]) AS wanted (name)
  LEFT JOIN pg_trigger t ON t.tgrelid = p.job_table AND t.tgname = wanted.name
