-- $1 pipeline (null: any), $2 ids below this one (null: from the newest), $3 at most, $4 who, $5 actions, $6 from this moment
-- on ($7: since so many seconds ago), $8 before this one ($9), $10 one id; each null: any. silent: seconds since it was last
-- moved on.
SELECT id, at, who, action, pipeline, stage, tenant, job_key, jobs, detail::text AS detail, reason, state, total, seen, ended_at,
       undoes, error, extract(epoch FROM clock_timestamp() - renewed_at)::float8 AS silent,
       (SELECT u.id FROM pgbaton.audit AS u WHERE u.undoes = a.id AND u.state <> 'aborted') AS undone_by
  FROM pgbaton.audit AS a
 WHERE ($1::text IS NULL OR pipeline = $1) AND ($2::bigint IS NULL OR id < $2)
   AND ($4::text[] IS NULL OR who = ANY ($4)) AND ($5::text[] IS NULL OR action = ANY ($5))
   AND ($6::timestamptz IS NULL OR at >= $6)
   AND ($7::float8 IS NULL OR at >= statement_timestamp() - make_interval(secs => $7))
   AND ($8::timestamptz IS NULL OR at < $8)
   AND ($9::float8 IS NULL OR at < statement_timestamp() - make_interval(secs => $9))
   AND ($10::bigint IS NULL OR id = $10)
 ORDER BY id DESC
 LIMIT $3
