-- The walk over the rows of the past. A walk that was broken off goes on where it was, unless there are new states.
INSERT INTO pgbaton.adoptions AS a (pipeline, mode) VALUES ({pipeline}, {mode})
ON CONFLICT (pipeline) DO UPDATE
   SET mode = EXCLUDED.mode, after_key = NULL, looked_at = 0, rows = '{}', started_at = clock_timestamp(), ended_at = NULL
 WHERE a.mode <> EXCLUDED.mode OR a.ended_at IS NOT NULL
    OR EXISTS (SELECT FROM (VALUES {entries}) AS e (step, status)
                WHERE (e.step, e.status) NOT IN (SELECT s.after, s.status FROM pgbaton.stages AS s
                                                  WHERE s.pipeline = {pipeline} AND s.routed));
