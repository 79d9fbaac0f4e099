-- $1 pipeline, $2 table: whether they belong together; another table of this pipeline (a dropped one is none);
-- another pipeline of this table; whether it was attached in this database.
SELECT EXISTS (SELECT FROM pgbaton.pipelines p WHERE p.name = $1 AND p.job_table = to_regclass($2)) AS here,
       (SELECT c.oid::regclass::text FROM pgbaton.pipelines p JOIN pg_class c ON c.oid = p.job_table
         WHERE p.name = $1 AND p.job_table <> to_regclass($2)) AS elsewhere,
       (SELECT p.name FROM pgbaton.pipelines p WHERE p.name <> $1 AND p.job_table = to_regclass($2)) AS other,
       (SELECT pgbaton.at_home(p) FROM pgbaton.pipelines p WHERE p.name = $1) IS NOT FALSE AS at_home
