-- $1 pipeline, $2 its first stage, $3 seconds, $4 rows at most: the past that a simulation goes by. arrival true: a job that
-- came up for the first stage, and how many seconds after the beginning of that time; else a call that was completed, and the
-- seconds that it took.
(SELECT true AS arrival, h.stage, h.tenant, extract(epoch FROM h.created_at - clock_timestamp())::float8 + $3 AS seconds
   FROM pgbaton.history AS h
  WHERE h.pipeline = $1 AND h.stage = $2 AND h.state IS NOT NULL AND h.ended_at > clock_timestamp() - make_interval(secs => $3)
    AND h.created_at > clock_timestamp() - make_interval(secs => $3)
  ORDER BY h.ended_at DESC
  LIMIT $4)
UNION ALL
(SELECT false, h.stage, NULL, extract(epoch FROM h.ended_at - h.started_at)::float8
   FROM pgbaton.history AS h
  WHERE h.pipeline = $1 AND h.called AND h.outcome = 'completed' AND h.ended_at > clock_timestamp() - make_interval(secs => $3)
  ORDER BY h.ended_at DESC
  LIMIT $4)
