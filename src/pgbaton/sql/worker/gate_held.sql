-- $1 pipeline: whether a sleeper holds the gate.
SELECT EXISTS (SELECT FROM pg_locks
                WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND classid = 72394502 AND objid = hashtext($1)::bit(32)::bigint::oid AND objsubid = 2
                  AND mode = 'ExclusiveLock' AND granted)
