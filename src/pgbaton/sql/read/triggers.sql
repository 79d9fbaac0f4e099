-- How each trigger stands on its pipeline's table (enabled is null where it is missing), what its function
-- says, and the other triggers there that publish or dispatch too.
SELECT p.name AS pipeline, p.job_table::text AS job_table, wanted.name AS trigger, t.tgenabled::text AS enabled,
       md5(f.prosrc) AS body_md5, f.prosecdef AS as_owner,
       ARRAY(SELECT o.tgname::text FROM pg_trigger o JOIN pg_proc g ON g.oid = o.tgfoid
              WHERE o.tgrelid = p.job_table AND NOT o.tgisinternal
                AND NOT EXISTS (SELECT FROM pgbaton.pipelines q WHERE q.job_table = p.job_table AND o.tgname = ANY (q.triggers))
                AND (g.prosrc LIKE '%INSERT INTO pgbaton.due%'
                     OR p.channel IS NOT NULL AND g.prosrc LIKE '%pg\_notify%' AND strpos(g.prosrc, p.channel) > 0)
              ORDER BY 1) AS doubles
  FROM pgbaton.pipelines p
 CROSS JOIN unnest(p.triggers) AS wanted (name)
  LEFT JOIN pg_trigger t ON t.tgrelid = p.job_table AND t.tgname = wanted.name
  LEFT JOIN pg_proc f ON f.oid = t.tgfoid
