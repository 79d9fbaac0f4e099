-- $1 pipeline, $2 step: calls that began while the stage had no limit count from now on.
UPDATE pgbaton.calls AS c SET slot = $2
  FROM pgbaton.stages AS s
 WHERE s.pipeline = $1 AND s.step = $2 AND (s.governed OR s.concurrency IS NOT NULL)
   AND c.pipeline = $1 AND c.stage = $2 AND c.due_at IS NULL AND c.slot IS NULL
