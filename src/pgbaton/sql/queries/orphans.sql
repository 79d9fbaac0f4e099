-- $1 pipeline, $2 known stages, $3 this worker, $4 and $5 the attempts in its hands, as dispatch ids and
-- attempts ($4 null: it cannot say just now), $6 ids after this one, $7 at most: running dispatches whose worker's lease lapsed, and those that the table
-- gives to this worker though it knows nothing of them (a claim whose reply was lost). Leases that lapsed while
-- Postgres itself was away get their length once more, or every restart would look like the death of all workers.
SELECT d.id, d.job_key, d.stage, d.state, d.attempt, d.worker, {row}
  FROM pgbaton.dispatches AS d
  LEFT JOIN LATERAL (SELECT {columns} FROM {table} WHERE {key} = d.job_key::{key_type} OFFSET 0) AS j ON true
 WHERE d.pipeline = $1 AND d.stage = ANY ($2::text[]) AND d.state = 'running' AND d.worker IS NOT NULL
   AND d.id > $6
   AND NOT EXISTS (SELECT FROM unnest($4::bigint[], $5::integer[]) AS held (id, attempt)
                    WHERE held.id = d.id AND held.attempt = d.attempt)
   AND CASE WHEN d.worker = $3 THEN $4::bigint[] IS NOT NULL
            ELSE NOT EXISTS (SELECT FROM pgbaton.workers AS w
                              WHERE w.id = d.worker
                                AND greatest(w.expires_at, pg_postmaster_start_time() + (w.expires_at - w.renewed_at))
                                    > clock_timestamp()) END
 ORDER BY d.id
 LIMIT $7
