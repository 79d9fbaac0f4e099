-- $1 pipeline, $2 pool, $3 size (null: the file's again), $4 who, $5 why: its size from now on; no row: no stage of the
-- pipeline uses it.
WITH changed AS (
    UPDATE pgbaton.pools AS p SET operated = $3
     WHERE p.name = $2 AND EXISTS (SELECT FROM pgbaton.stages AS s WHERE s.pipeline = $1 AND s.pool = $2)
    RETURNING p.size
), written AS (
    INSERT INTO pgbaton.audit (who, action, pipeline, detail, reason)
    SELECT $4, 'limit', $1, jsonb_build_object('pool', $2::text, 'size', $3::integer), $5 FROM changed
), woken AS (
    SELECT pg_notify('pgbaton_wake', $1) FROM changed
)
SELECT size, (SELECT count(*) FROM woken) FROM changed
