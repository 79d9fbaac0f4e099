-- $1 pipeline: let go of the gate.
SELECT pg_advisory_unlock(72394502, hashtext($1))
