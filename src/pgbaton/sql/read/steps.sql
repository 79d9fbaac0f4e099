-- $1 pipeline: its stages in order, those that left it last.
SELECT step FROM pgbaton.stages WHERE pipeline = $1 ORDER BY NOT routed, position
