-- $1 pipeline, $2 seconds: a finding that the webhook is to be told of; no other sender gets it for so long. Where a sender
-- dies, the next gets it after that time. A finding that is older than an hour is not told any more.
UPDATE pgbaton.findings AS f
   SET tell_at = clock_timestamp() + make_interval(secs => $2), tries = f.tries + 1
 WHERE f.id = (SELECT o.id FROM pgbaton.findings AS o
                WHERE o.pipeline = $1 AND o.tell_at <= clock_timestamp() AND o.finding ->> 'level' <> 'note'
                  AND coalesce(o.ended_at, o.appeared_at) > clock_timestamp() - interval '1 hour'
                ORDER BY o.tell_at LIMIT 1
                  FOR UPDATE SKIP LOCKED)
RETURNING f.id, f.finding::text AS finding, f.appeared_at, f.ended_at, f.tell_at, f.tries
