-- $1 pipeline, $2 table: whether they belong together; another table of this pipeline (a dropped one is none);
-- whether its triggers have names of their own ($3 the usual ones), as they have or would get; whether it was attached in this
-- database.
SELECT EXISTS (SELECT FROM pgbaton.pipelines p WHERE p.name = $1 AND p.job_table = to_regclass($2)) AS here,
       (SELECT c.oid::regclass::text FROM pgbaton.pipelines p JOIN pg_class c ON c.oid = p.job_table
         WHERE p.name = $1 AND p.job_table <> to_regclass($2)) AS elsewhere,
       coalesce((SELECT p.triggers <> $3::text[] FROM pgbaton.pipelines p
                  WHERE p.name = $1 AND p.job_table = coalesce(to_regclass($2), p.job_table)),
                EXISTS (SELECT FROM pgbaton.pipelines p
                         WHERE p.name <> $1 AND p.job_table = to_regclass($2) AND p.triggers = $3::text[])) AS beside,
       (SELECT pgbaton.at_home(p) FROM pgbaton.pipelines p WHERE p.name = $1) IS NOT FALSE AS at_home
