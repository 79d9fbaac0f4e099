-- $1 pipeline (null: any), $2 ids below this one (null: from the newest), $3 at most.
SELECT id, at, who, action, pipeline, stage, tenant, job_key, jobs, detail::text AS detail
  FROM pgbaton.audit
 WHERE ($1::text IS NULL OR pipeline = $1) AND ($2::bigint IS NULL OR id < $2)
 ORDER BY id DESC
 LIMIT $3
