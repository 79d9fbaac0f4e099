-- How many calls of each stage this worker may claim now, the last stage first: jobs that are nearly done get done. Left out
-- are stages that are paused, down, or unknown to the worker, those that it knows by another route than the database's, and
-- those with finer limits, which go by pgbaton.admit() (admission.sql). A part of each claim, and no function: a turn that finds
-- nothing takes 0.31 ms so, and took 0.43.
-- The lease is asked before anything, and once: see pgbaton.check_claim(), which raises where it is not held.
(SELECT g.*, count(*) OVER () AS open_stages  -- counted so that all are locked before a duty is
   FROM (
        SELECT s.step AS stage, s.after AS entry, s.status AS entry_status, k.since AS first_id,
               CASE WHEN s.concurrency IS NULL AND s.strikes = 0 THEN {how_many}::integer
                    ELSE pgbaton.room(s.pipeline, s.step, s.strikes > 0, {how_many}::integer) END AS may,
               s.concurrency IS NOT NULL AS limited, s.strikes > 0 AS probing
          FROM unnest({known}::text[], {entries}::text[], {statuses}::text[], {since}::bigint[]) AS k (step, entry, status, since)
          JOIN pgbaton.stages AS s ON s.pipeline = {pipeline} AND s.step = k.step AND s.after = k.entry AND s.status = k.status
         WHERE (SELECT CASE WHEN CASE WHEN pgbaton.home(p) = current_setting('pgbaton.home', true)
                                           AND pgbaton.alive(w) THEN true
                                      ELSE pgbaton.check_claim({pipeline}, {worker}::bigint) END
                            THEN p.paused_at IS NULL END
                  FROM (VALUES (true)) AS one (there)
                  LEFT JOIN pgbaton.pipelines AS p ON p.name = {pipeline}
                  LEFT JOIN pgbaton.workers AS w ON w.id = {worker})
           AND s.routed AND NOT s.governed AND s.paused_at IS NULL
           AND (s.open_until IS NULL OR s.open_until <= clock_timestamp())
           AND (s.held_until IS NULL OR s.held_until <= clock_timestamp())
         ORDER BY s.position DESC  -- every worker locks them in this order
        OFFSET 0) AS g
  WHERE g.may > 0)
