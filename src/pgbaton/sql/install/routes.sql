-- $1 pipeline: where rows come to its stages and passages, in order.
SELECT step, after, status, condition, kind = 'call' AS calls
  FROM pgbaton.stages WHERE pipeline = $1 AND routed ORDER BY position
