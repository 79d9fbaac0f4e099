-- $1 pipeline, $2 stages (null: all), $3 calls that a worker makes at once, $4 seconds within which what waits is to have begun.
SELECT stage, waiting, under_way, takes, calls, kept_by FROM pgbaton.calls_wanted($1, $2, $3, $4)
