-- $1 pipeline, $2 stage (null: the whole pipeline), $3 paused or not: returns what was changed.
WITH stage AS (
    UPDATE pgbaton.stages SET paused_at = CASE WHEN $3 THEN coalesce(paused_at, clock_timestamp()) END
     WHERE pipeline = $1 AND step = $2
    RETURNING step AS name
), pipeline AS (
    UPDATE pgbaton.pipelines SET paused_at = CASE WHEN $3 THEN coalesce(paused_at, clock_timestamp()) END
     WHERE name = $1 AND $2::text IS NULL
    RETURNING name
), woken AS (
    SELECT pg_notify('pgbaton_wake', $1) WHERE NOT $3
)
SELECT name, (SELECT count(*) FROM woken) FROM stage
UNION ALL
SELECT name, (SELECT count(*) FROM woken) FROM pipeline
