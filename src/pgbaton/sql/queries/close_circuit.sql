-- $1 pipeline, $2 steps: they answer again.
WITH closed AS (
    UPDATE pgbaton.stages SET strikes = 0, open_until = NULL
     WHERE pipeline = $1 AND step = ANY ($2::text[]) AND strikes > 0
    RETURNING step
)
SELECT pg_notify('pgbaton_wake', $1) FROM closed
