-- $1 pipeline: its routes.
SELECT step, after FROM pgbaton.stages WHERE pipeline = $1 AND routed
