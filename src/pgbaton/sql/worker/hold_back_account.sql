-- A stage answered 429 to calls with one provider's account: $1 to $5 as in hold_back.sql, $6 the account. Its calls alone are
-- held back and cut; those with other accounts go on.
WITH locked AS MATERIALIZED (
    SELECT s.pipeline, s.step FROM pgbaton.stages AS s WHERE s.pipeline = $1 AND s.step = $2 FOR NO KEY UPDATE
), found AS MATERIALIZED (
    SELECT l.*, n.now, n.running, a.ceiling, a.refused_at, a.lowered_at, n.fresh,
           greatest(1, CASE WHEN n.fresh THEN n.running - $5 + 1 ELSE a.refused_at - $5 END) AS refusing
      FROM locked AS l
      LEFT JOIN pgbaton.accounts AS a ON a.pipeline = $1 AND a.stage = $2 AND a.account = $6
     CROSS JOIN LATERAL (
            SELECT t.now, a.lowered_at IS NULL OR a.lowered_at < t.now - make_interval(secs => $4) AS fresh,
                   (SELECT count(*) FROM pgbaton.calls AS c
                     WHERE c.pipeline = $1 AND c.slot = $2 AND c.account = $6) AS running
              FROM (SELECT clock_timestamp() AS now) AS t) AS n
)
INSERT INTO pgbaton.accounts AS a (pipeline, stage, account, ceiling, refused_at, lowered_at, held_until)
SELECT f.pipeline, f.step, $6,
       greatest(1, least(CASE WHEN f.fresh THEN floor(f.running / 2.0) ELSE f.ceiling END, f.refusing - 1)), f.refusing,
       CASE WHEN f.fresh THEN f.now ELSE f.lowered_at END, f.now + make_interval(secs => $3)
  FROM found AS f
    ON CONFLICT (pipeline, stage, account) DO UPDATE
   SET ceiling = EXCLUDED.ceiling, refused_at = EXCLUDED.refused_at, lowered_at = EXCLUDED.lowered_at,
       held_until = greatest(a.held_until, EXCLUDED.held_until)
RETURNING floor(a.ceiling)::integer AS ceiling, (SELECT f.fresh FROM found AS f) AS fresh
