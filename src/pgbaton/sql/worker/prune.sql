-- $1 retention in seconds, $2 where the last batch of the history ended (null: at its beginning): forget attempts that ended
-- before the retention, a bounded number at a time, the workers that they named, rounds of that time, and which jobs an act of an
-- operator changed (the act itself stays). $2 spares dead entries of the index, which an old snapshot may keep, from
-- being read again.
WITH forgotten AS (
    DELETE FROM pgbaton.workers AS w
     WHERE coalesce(w.ended_at, w.expires_at) < clock_timestamp() - make_interval(secs => greatest($1, 3600))
       AND NOT EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.worker = w.id)
), rescued AS (  -- calls of a worker that was lost a minute ago are another's by now
    UPDATE pgbaton.workers AS w SET under_way = '{}'
     WHERE w.ended_at IS NULL AND w.under_way <> '{}' AND w.expires_at < clock_timestamp() - interval '1 minute'
       AND NOT pgbaton.alive(w)
), paid AS (  -- a rate whose calls are all paid for says nothing
    DELETE FROM pgbaton.spent AS b WHERE b.until < clock_timestamp() - interval '1 minute'
), unshadowed AS (
    DELETE FROM pgbaton.shadow AS s
     WHERE s.created_at < statement_timestamp() - make_interval(secs => $1)
       AND s.id = ANY (ARRAY(SELECT id FROM pgbaton.shadow ORDER BY id LIMIT 1000))
), acts AS (
    DELETE FROM pgbaton.audit_jobs AS j
     WHERE j.ctid = ANY (ARRAY(
            SELECT o.ctid FROM pgbaton.audit AS a JOIN pgbaton.audit_jobs AS o ON o.act = a.id
             WHERE a.state IN ('done', 'aborted')
               AND a.ended_at < statement_timestamp() - make_interval(secs => greatest($1, 86400))
             LIMIT 1000))
), unrounded AS (  -- of a job that came that way long ago, and of which nothing is open
    DELETE FROM pgbaton.rounds AS r
     WHERE r.ctid = ANY (ARRAY(
            SELECT o.ctid FROM pgbaton.rounds AS o
             WHERE o.at < statement_timestamp() - make_interval(secs => $1)
               AND NOT EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = o.pipeline AND c.job_key = o.job_key)
               AND NOT EXISTS (SELECT FROM pgbaton.due AS d WHERE d.job_key = o.job_key AND d.pipeline = o.pipeline)
             LIMIT 1000))
), old AS (
    SELECT h.ctid AS tid FROM pgbaton.history AS h
     WHERE h.ended_at < statement_timestamp() - make_interval(secs => $1) AND h.ended_at >= coalesce($2::timestamptz, '-infinity')
     ORDER BY h.ended_at
     LIMIT 1000
       FOR UPDATE SKIP LOCKED
), pruned AS (
    DELETE FROM pgbaton.history AS h WHERE h.ctid = ANY (ARRAY(SELECT tid FROM old)) RETURNING h.ended_at
)
SELECT count(*) AS count, max(ended_at) AS reached FROM pruned
