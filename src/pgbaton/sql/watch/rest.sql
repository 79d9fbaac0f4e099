-- $1 pipeline, $2 task, $3 seconds: no worker does the task again before that.
UPDATE pgbaton.watches SET until = clock_timestamp() + make_interval(secs => $3) WHERE pipeline = $1 AND task = $2
