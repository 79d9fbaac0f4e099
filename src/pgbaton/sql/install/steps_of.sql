-- $1 pipeline: every step that one of its rows can be at, as far as its routes say; null where it is not attached.
SELECT array_agg(DISTINCT v.step ORDER BY v.step) AS steps
  FROM pgbaton.stages AS s, LATERAL (VALUES (s.after), (CASE WHEN s.kind = 'call' THEN s.step END)) AS v (step)
 WHERE s.pipeline = $1 AND s.routed AND v.step IS NOT NULL
