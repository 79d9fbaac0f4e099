-- $1 pipeline: whether something limits or orders its calls, so that claims of it go by pgbaton.admit().
SELECT EXISTS (SELECT FROM pgbaton.stages AS s WHERE s.pipeline = $1 AND s.routed AND s.governed) AS governed
