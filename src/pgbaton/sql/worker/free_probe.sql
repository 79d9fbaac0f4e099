-- $1 pipeline, $2 step: the stage that a claim was to probe was not called; another claim may probe it now.
UPDATE pgbaton.stages SET open_until = clock_timestamp() WHERE pipeline = $1 AND step = $2 AND strikes > 0
