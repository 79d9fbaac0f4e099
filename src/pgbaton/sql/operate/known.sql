-- $1 pipeline, $2 keys: those of which the journal knows.
SELECT k.job_key
  FROM unnest($2::text[]) WITH ORDINALITY AS k (job_key, nth)
 WHERE EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.job_key = k.job_key)
    OR EXISTS (SELECT FROM pgbaton.due AS d WHERE d.job_key = k.job_key AND d.pipeline = $1)
    OR EXISTS (SELECT FROM pgbaton.history AS h WHERE h.job_key = k.job_key AND h.pipeline = $1)
 ORDER BY k.nth
