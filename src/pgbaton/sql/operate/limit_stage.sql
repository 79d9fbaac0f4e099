-- $1 pipeline, $2 step, $3 limits as JSON (null: none, in place of the file's), $4 whether all that operators set and answers 429
-- have taught is forgotten first, $5 who, $6 why: the stage's limits from now on; no row: there is no such stage.
WITH changed AS (
    UPDATE pgbaton.stages
       SET operated = CASE WHEN $4 THEN '{}' ELSE operated END || $3::text::jsonb,
           ceiling = CASE WHEN $4 THEN NULL ELSE ceiling END, refused_at = CASE WHEN $4 THEN NULL ELSE refused_at END,
           held_until = CASE WHEN $4 THEN NULL ELSE held_until END
     WHERE pipeline = $1 AND step = $2
    RETURNING step, attached, operated
), forgotten AS (
    DELETE FROM pgbaton.accounts AS a WHERE a.pipeline = $1 AND a.stage = $2 AND $4
), written AS (
    INSERT INTO pgbaton.audit (who, action, pipeline, stage, detail, reason)
    SELECT $5, 'limit', $1, step, jsonb_build_object('set', $3::text::jsonb, 'reset', $4), $6 FROM changed
), woken AS (
    SELECT pg_notify('pgbaton_wake', $1) FROM changed
)
SELECT step, (attached || operated)::text AS limits, (SELECT count(*) FROM woken) FROM changed
