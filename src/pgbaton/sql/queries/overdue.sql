-- $1 pipeline, $2 known stages, $3 ids after this one, $4 at most: stages that worked on past their deadline.
-- (id + 0: by the index of what runs, and not in the order of the primary key through all that is open.)
SELECT d.id, d.job_key, d.stage, d.state, d.attempt, d.worker, {row}
  FROM ONLY pgbaton.dispatches AS d
  LEFT JOIN LATERAL (SELECT {columns} FROM {table} WHERE {key} = d.job_key::{key_type} OFFSET 0) AS j ON true
 WHERE d.pipeline = $1 AND d.stage = ANY ($2::text[]) AND d.state = 'running' AND d.worker IS NULL
   AND d.deadline < clock_timestamp() AND d.id + 0 > $3
 ORDER BY d.id + 0
 LIMIT $4
