-- $1 pipeline, $2 stage (null: the whole pipeline), $3 paused or not, $4 who, $5 why (null: not said): whether there is such
-- a stage or pipeline, and whether that changed it.
WITH stage AS (
    UPDATE pgbaton.stages SET paused_at = CASE WHEN $3 THEN clock_timestamp() END
     WHERE pipeline = $1 AND step = $2 AND (paused_at IS NULL) = $3
    RETURNING step AS name
), pipeline AS (
    UPDATE pgbaton.pipelines SET paused_at = CASE WHEN $3 THEN clock_timestamp() END
     WHERE name = $1 AND $2::text IS NULL AND (paused_at IS NULL) = $3
    RETURNING name
), changed AS (
    SELECT name FROM stage UNION ALL SELECT name FROM pipeline
), written AS (
    INSERT INTO pgbaton.audit (who, action, pipeline, stage, reason)
    SELECT $4, CASE WHEN $3 THEN 'pause' ELSE 'resume' END, $1, $2, $5 FROM changed
), woken AS (
    SELECT pg_notify('pgbaton_wake', $1) WHERE NOT $3 AND EXISTS (SELECT FROM changed)
)
SELECT CASE WHEN $2::text IS NULL THEN EXISTS (SELECT FROM pgbaton.pipelines WHERE name = $1)
            ELSE EXISTS (SELECT FROM pgbaton.stages WHERE pipeline = $1 AND step = $2) END AS known,
       (SELECT count(*) FROM changed) AS changed, (SELECT count(*) FROM woken)
