-- $1 pipeline: its routes, in order.
SELECT step, after FROM pgbaton.stages WHERE pipeline = $1 AND routed ORDER BY position
