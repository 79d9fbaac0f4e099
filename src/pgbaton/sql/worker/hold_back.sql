-- A stage answered 429: it bears no more calls than it has now. $1 pipeline, $2 step, $3 seconds that it asked to be left alone
-- (null: it did not say), $4 seconds since the last of the refused calls began, $5 how many were refused. No worker calls it for
-- that time, and from then on at most half as many at once as it has now. Refusals of calls that began before the last cut
-- are of the same burst: they lower the ceiling by their number only. From now on its calls are counted, also where the stage
-- has no limit.
WITH at AS MATERIALIZED (
    SELECT clock_timestamp() AS now, (SELECT count(*) FROM pgbaton.calls AS c
                                       WHERE c.pipeline = $1 AND c.stage = $2 AND c.due_at IS NULL) AS running
), counted AS (
    UPDATE pgbaton.calls AS c SET slot = $2
     WHERE c.pipeline = $1 AND c.stage = $2 AND c.due_at IS NULL AND c.slot IS NULL
), found AS MATERIALIZED (
    SELECT s.*, at.now, at.running, s.lowered_at IS NULL OR s.lowered_at < at.now - make_interval(secs => $4) AS fresh,
           greatest(1, CASE WHEN s.lowered_at IS NULL OR s.lowered_at < at.now - make_interval(secs => $4)
                            THEN at.running - $5 + 1 ELSE s.refused_at - $5 END) AS refusing
      FROM pgbaton.stages AS s CROSS JOIN at
     WHERE s.pipeline = $1 AND s.step = $2
       FOR NO KEY UPDATE OF s
)
UPDATE pgbaton.stages AS s
   SET held_until = greatest(s.held_until, f.now + make_interval(secs => $3)),
       refused_at = f.refusing,
       ceiling = greatest(1, least(CASE WHEN f.fresh THEN floor(f.running / 2.0) ELSE f.ceiling END, f.refusing - 1)),
       lowered_at = CASE WHEN f.fresh THEN f.now ELSE f.lowered_at END
  FROM found AS f
 WHERE s.pipeline = f.pipeline AND s.step = f.step
RETURNING floor(s.ceiling)::integer AS ceiling, f.fresh
