-- $1 pipeline, $2 task, $3 seconds: a row where this worker may do the task now; no other worker may within that time. Of two
-- workers that ask at once, the second waits for the first one's row lock, and finds that it may not. The task of a worker that
-- dies is free again after that time. A worker that asks too early writes nothing, and locks nothing.
INSERT INTO pgbaton.watches AS w (pipeline, task, until)
SELECT p.name, $2, clock_timestamp() + make_interval(secs => $3) FROM pgbaton.pipelines AS p
 WHERE p.name = $1 AND NOT EXISTS (SELECT FROM pgbaton.watches AS o
                                    WHERE o.pipeline = $1 AND o.task = $2 AND o.until > clock_timestamp())
ON CONFLICT (pipeline, task) DO UPDATE SET until = EXCLUDED.until WHERE w.until <= clock_timestamp()
RETURNING task
