-- $1 pipeline, $2 table: whether they belong together; another table of this pipeline; another pipeline of this table.
SELECT EXISTS (SELECT FROM pgbaton.pipelines p WHERE p.name = $1 AND p.job_table = to_regclass($2)) AS here,
       (SELECT p.job_table::text FROM pgbaton.pipelines p WHERE p.name = $1 AND p.job_table <> to_regclass($2)) AS elsewhere,
       (SELECT p.name FROM pgbaton.pipelines p WHERE p.name <> $1 AND p.job_table = to_regclass($2)) AS other
