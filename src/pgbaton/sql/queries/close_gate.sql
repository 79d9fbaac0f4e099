-- $1 pipeline: hold the gate alone. The key is that of pgbaton.nobody_sleeps.
SELECT pg_advisory_lock(72394502, hashtext($1))
