-- $1 pipeline: what its gathers count, one for each pipeline of children: as JSON, {"children": its name, "done": [step,
-- status], ...}.
SELECT DISTINCT ON (s.detail ->> 'children') s.detail::text AS detail
  FROM pgbaton.stages AS s
 WHERE s.pipeline = $1 AND s.routed AND s.kind = 'gather'
 ORDER BY s.detail ->> 'children', s.position
