-- $1 pipeline: hold the gate's lock exclusively. The key is that of trigger.sql.
SELECT pg_advisory_lock(72394502, hashtext($1))
