-- $1 pipeline, $2 known stages, $3 this worker, $4 what it holds in its hands (null: it cannot say just now),
-- $5 ids after this one, $6 at most: running dispatches whose worker's lease lapsed, and those that the table
-- gives to this worker though it knows nothing of them (a claim whose reply was lost). Leases that lapsed while
-- Postgres itself was away get their length once more, or every restart would look like the death of all workers.
SELECT d.id, d.job_key, d.stage, d.state, d.attempt, d.worker, {row}
  FROM pgbaton.dispatches AS d
  LEFT JOIN {table} AS j ON j.{key} = d.job_key::{key_type}
 WHERE d.pipeline = $1 AND d.stage = ANY ($2::text[]) AND d.state = 'running' AND d.worker IS NOT NULL
   AND d.id > $5 AND d.id <> ALL (coalesce($4::bigint[], '{}'))
   AND CASE WHEN d.worker = $3 THEN $4::bigint[] IS NOT NULL
            ELSE NOT EXISTS (SELECT FROM pgbaton.workers AS w
                              WHERE w.id = d.worker
                                AND greatest(w.expires_at, pg_postmaster_start_time() + (w.expires_at - w.renewed_at))
                                    > clock_timestamp()) END
 ORDER BY d.id
 LIMIT $6
