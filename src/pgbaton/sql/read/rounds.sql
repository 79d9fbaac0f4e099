-- $1 pipeline, $2 job key: how often it has come by the routes that are bounded.
SELECT route, taken FROM pgbaton.rounds WHERE pipeline = $1 AND job_key = $2 ORDER BY route
