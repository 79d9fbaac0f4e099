-- A stage answered 429: it bears no more calls than it has now. $1 pipeline, $2 step, $3 seconds that it asked to be left alone
-- (null: it did not say), $4 seconds since the last of the refused calls began, $5 how many were refused, $6 the provider's
-- account that they were made with (null: the stage names none). No worker calls it (with that account) for that time, and
-- from then on as pgbaton.cut() says. From now on its calls are counted, also where the stage has no limit.
WITH stage AS MATERIALIZED (
    SELECT s.*, t.now FROM pgbaton.stages AS s CROSS JOIN (SELECT clock_timestamp() AS now) AS t
     WHERE s.pipeline = $1 AND s.step = $2
       FOR NO KEY UPDATE OF s
), counted AS (
    UPDATE pgbaton.calls AS c SET slot = $2
     WHERE $6::text IS NULL AND c.pipeline = $1 AND c.stage = $2 AND c.due_at IS NULL AND c.slot IS NULL
), known AS MATERIALIZED (
    SELECT s.ceiling, s.refused_at, s.lowered_at, s.now,
           (SELECT count(*) FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.stage = $2 AND c.due_at IS NULL) AS running
      FROM stage AS s WHERE $6 IS NULL
    UNION ALL
    SELECT a.ceiling, a.refused_at, a.lowered_at, s.now,
           (SELECT count(*) FROM pgbaton.calls AS c WHERE c.pipeline = $1 AND c.slot = $2 AND c.account = $6)
      FROM stage AS s LEFT JOIN pgbaton.accounts AS a ON a.pipeline = $1 AND a.stage = $2 AND a.account = $6
     WHERE $6 IS NOT NULL
), learned AS MATERIALIZED (
    SELECT n.*, k.fresh, CASE WHEN k.fresh THEN k.now ELSE k.lowered_at END AS lowered_at,
           k.now + make_interval(secs => $3) AS held_until
      FROM (SELECT *, lowered_at IS NULL OR lowered_at < now - make_interval(secs => $4) AS fresh FROM known) AS k
     CROSS JOIN LATERAL pgbaton.cut(k.running, $5, k.fresh, k.ceiling, k.refused_at) AS n
), of_stage AS (
    UPDATE pgbaton.stages AS s
       SET ceiling = l.ceiling, refused_at = l.refused_at, lowered_at = l.lowered_at,
           held_until = greatest(s.held_until, l.held_until)
      FROM learned AS l
     WHERE $6 IS NULL AND s.pipeline = $1 AND s.step = $2
), of_account AS (
    INSERT INTO pgbaton.accounts AS a (pipeline, stage, account, ceiling, refused_at, lowered_at, held_until)
    SELECT $1, $2, $6, l.ceiling, l.refused_at, l.lowered_at, l.held_until FROM learned AS l WHERE $6 IS NOT NULL
        ON CONFLICT (pipeline, stage, account) DO UPDATE
       SET ceiling = EXCLUDED.ceiling, refused_at = EXCLUDED.refused_at, lowered_at = EXCLUDED.lowered_at,
           held_until = greatest(a.held_until, EXCLUDED.held_until)
)
SELECT floor(l.ceiling)::integer AS ceiling, l.fresh FROM learned AS l
