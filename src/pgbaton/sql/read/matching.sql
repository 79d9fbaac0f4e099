-- The parts of a filter, asked of a dispatch d: $1 to $10, $14 to $16, each null: any; $11 ids below this one; $13 ids from this
-- one. A bound in time is a moment ($5 before it, $15 from it) or so many seconds ago ($14, $16).
       ($1::text IS NULL OR d.pipeline = $1)
   AND ($2::text[] IS NULL OR d.stage = ANY ($2))
   AND ($3::text[] IS NULL OR d.state = ANY ($3))
   AND ($4::text[] IS NULL OR d.tenant = ANY ($4))
   AND ($5::timestamptz IS NULL OR d.created_at < $5)
   AND ($14::float8 IS NULL OR d.created_at < statement_timestamp() - make_interval(secs => $14))
   AND ($15::timestamptz IS NULL OR d.created_at >= $15)
   AND ($16::float8 IS NULL OR d.created_at >= statement_timestamp() - make_interval(secs => $16))
   AND ($6::text IS NULL OR {error} ILIKE $6)
   AND ($7::text IS NULL OR pgbaton.error_group({error}) = $7 AND ($7 = '' OR {error} IS NOT NULL))
   AND ($8::text[] IS NULL OR d.job_key = ANY ($8))
   AND ($9::text IS NULL OR d.job_key LIKE $9)
   AND (NOT $10 OR NOT EXISTS (SELECT FROM pgbaton.due AS n
                                WHERE n.job_key = d.job_key AND n.pipeline = d.pipeline AND n.id > d.id AND n.stage <> '')
               AND NOT EXISTS (SELECT FROM pgbaton.calls AS n
                                WHERE n.pipeline = d.pipeline AND n.job_key = d.job_key AND greatest(n.id, n.next_id) > d.id)
               AND NOT EXISTS (SELECT FROM pgbaton.history AS n
                                WHERE n.job_key = d.job_key AND n.pipeline = d.pipeline AND n.id > d.id AND n.state IS NOT NULL
                                  AND (n.attempt > 0 OR d.state <> 'dead' OR n.created_at >= {ended})))
   AND ($11::bigint IS NULL OR d.id < $11)
   AND ($13::bigint IS NULL OR d.id >= $13)
