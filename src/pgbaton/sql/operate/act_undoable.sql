-- $1 pipeline, $2 act: how many jobs it cancelled, if it has ended and was an act on many.
SELECT jobs FROM pgbaton.audit
 WHERE pipeline = $1 AND id = $2 AND action = 'cancel' AND state IN ('done', 'aborted') AND jobs > 0
