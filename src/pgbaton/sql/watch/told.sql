-- $1 pipeline, $2 finding, $3 tell_at as it was taken, $4 seconds until it is tried again (null: it was told, or is given up).
-- Where the finding has ended meanwhile, its end is still to be told: tell_at is another one by then.
UPDATE pgbaton.findings AS f SET tell_at = clock_timestamp() + make_interval(secs => $4)
 WHERE f.pipeline = $1 AND f.id = $2 AND f.tell_at = $3
