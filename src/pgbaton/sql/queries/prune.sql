-- $1 retention in seconds: forget settled dispatches, a bounded number at a time, and workers long gone.
WITH forgotten AS (
    DELETE FROM pgbaton.workers WHERE expires_at < clock_timestamp() - interval '1 hour'
), old AS (
    SELECT id FROM pgbaton.settled
     WHERE settled_at < clock_timestamp() - make_interval(secs => $1)
     ORDER BY settled_at
     LIMIT 1000
       FOR UPDATE SKIP LOCKED
), pruned AS (
    DELETE FROM pgbaton.settled AS d USING old WHERE d.id = old.id RETURNING d.id
), their_attempts AS (
    DELETE FROM pgbaton.attempts AS t USING pruned WHERE t.dispatch_id = pruned.id
)
SELECT count(*) FROM pruned
