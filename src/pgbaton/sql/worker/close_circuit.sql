-- $1 pipeline, $2 step: the stage answers again.
WITH closed AS (
    UPDATE pgbaton.stages SET strikes = 0, open_until = NULL
     WHERE pipeline = $1 AND step = $2 AND strikes > 0
    RETURNING step
)
SELECT pg_notify('pgbaton_wake', $1) FROM closed
