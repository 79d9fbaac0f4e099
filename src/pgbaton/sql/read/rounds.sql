-- $1 pipeline, $2 job key: how often it has come by the routes that are bounded, and how often it may; the latest first.
SELECT r.route, r.taken, (s.detail ->> 'rounds')::integer AS most
  FROM pgbaton.rounds AS r
  LEFT JOIN pgbaton.stages AS s ON s.pipeline = r.pipeline AND s.step = r.route AND s.routed
 WHERE r.pipeline = $1 AND r.job_key = $2
 ORDER BY r.at DESC, r.route
