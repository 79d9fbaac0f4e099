-- $1 pipeline, $2 known stages, $3 this worker, $4 and $5 the attempts in its hands, as dispatch ids and attempts ($4 null:
-- leave its own alone), $6 ids after this one, $7 at most: running dispatches whose worker's lease lapsed, and those that
-- the table gives to this worker though it knows nothing of them (a claim whose reply was lost). Leases that lapsed while
-- Postgres itself was away get their length once more, or every restart would look like the death of all workers.
-- What was claimed is in the index until vacuum has been there: only what lies between the ids of the workers that live is
-- looked at, lest all that they have ever claimed under an old snapshot be stepped over. (By that index, as
-- the order says, and not by the primary key, which such a snapshot fills with all that was ever dispatched.)
WITH living AS MATERIALIZED (
    SELECT w.id FROM pgbaton.workers AS w
     WHERE greatest(w.expires_at, pg_postmaster_start_time() + (w.expires_at - w.renewed_at)) > clock_timestamp()
     UNION
    SELECT $3
), span AS MATERIALIZED (
    SELECT lag(id, 1, -1) OVER (ORDER BY id) AS above, id AS below FROM living
     UNION ALL
    SELECT max(id), 9223372036854775807 FROM living
     UNION ALL
    SELECT $3 - 1, $3 + 1 WHERE $4::bigint[] IS NOT NULL
)
SELECT d.id, d.job_key, d.stage, d.state, d.attempt, d.worker, {row}
  FROM unnest($2::text[]) AS s (step)
 CROSS JOIN span
 CROSS JOIN LATERAL (
        SELECT n.* FROM ONLY pgbaton.dispatches AS n
         WHERE n.pipeline = $1 AND n.stage = s.step AND n.state = 'running'
           AND n.worker > span.above AND n.worker < span.below AND n.id > $6
           AND NOT EXISTS (SELECT FROM unnest($4::bigint[], $5::integer[]) AS held (id, attempt)
                            WHERE held.id = n.id AND held.attempt = n.attempt)
         ORDER BY n.worker) AS d
  LEFT JOIN LATERAL (SELECT {columns} FROM {table} WHERE {key} = d.job_key::{key_type} OFFSET 0) AS j ON true
 ORDER BY d.id
 LIMIT $7
