-- Rows that stand in a state that becomes routed now: they are left alone until a person decides about them (`pgbaton attach`).
INSERT INTO pgbaton.adoptions (pipeline, mode)
SELECT {pipeline}, 'ask'
 WHERE EXISTS (SELECT FROM {table} AS j
                WHERE ({step_text}, {status_text}) IN ({entries})
                  AND ({step_text}, {status_text}) NOT IN (SELECT s.after, s.status FROM pgbaton.stages AS s
                                                            WHERE s.pipeline = {pipeline} AND s.routed)
                  AND NOT EXISTS (SELECT FROM pgbaton.due AS d
                                   WHERE d.job_key = ({job_key}) COLLATE "C" AND d.pipeline = {pipeline})
                  AND NOT EXISTS (SELECT FROM pgbaton.calls AS c
                                   WHERE c.pipeline = {pipeline} AND c.job_key = ({job_key}) COLLATE "C"))
ON CONFLICT (pipeline) DO UPDATE
   SET mode = 'ask', after_key = NULL, looked_at = 0, rows = '{}', started_at = clock_timestamp(), ended_at = NULL;
