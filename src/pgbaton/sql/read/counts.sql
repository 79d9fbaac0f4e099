-- $1 where counting stops, $2 completed ones at most: what ended in the last day, by stage (of those that died or were cancelled
-- the newest $1).
WITH completed AS MATERIALIZED (
    SELECT pipeline, stage, count(*) AS count
      FROM (SELECT h.pipeline, h.stage FROM pgbaton.history AS h
             WHERE h.ended_at > statement_timestamp() - interval '1 day' AND h.state = 'completed'
             ORDER BY h.ended_at DESC LIMIT $2) AS lately
     GROUP BY pipeline, stage
)
SELECT s.pipeline, s.step AS stage,
       coalesce((SELECT c.count FROM completed AS c WHERE c.pipeline = s.pipeline AND c.stage = s.step), 0) AS completed,
       (SELECT count(*) FROM (SELECT h.ended_at FROM pgbaton.history AS h
                               WHERE h.pipeline = s.pipeline AND h.stage = s.step AND h.state = 'cancelled'
                               ORDER BY h.id DESC LIMIT $1) AS c
         WHERE c.ended_at > statement_timestamp() - interval '1 day') AS cancelled,
       (SELECT coalesce(sum(c.count), 0) >= $2 FROM completed AS c) AS completed_capped
  FROM pgbaton.stages AS s
