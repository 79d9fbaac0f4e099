-- $1 dispatch ids, $2 at most: their attempts in order, the newest where there are too many.
SELECT * FROM (
    SELECT t.dispatch_id, t.attempt, t.worker, t.started_at, t.finished_at, t.outcome, t.http_status, t.error, t.answer,
           extract(epoch FROM coalesce(t.finished_at, clock_timestamp()) - t.started_at)::float8 AS seconds
      FROM pgbaton.attempts AS t
     WHERE t.dispatch_id = ANY ($1::bigint[])
     ORDER BY t.dispatch_id DESC, t.attempt DESC
     LIMIT $2
) AS newest
 ORDER BY dispatch_id, attempt
