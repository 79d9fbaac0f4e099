-- $1 pipeline (null: any): whether it is attached in this database, its walk over rows of the past that has not ended, its shadow
-- mode, and how many calls were recorded (counted up to 10,001).
SELECT p.name, pgbaton.at_home(p) AS at_home, a.mode,
       coalesce((SELECT sum(v::bigint) FROM jsonb_each_text(a.rows) AS e (k, v)), 0)::bigint AS rows,
       (p.rollout ->> 'share')::float8 AS share,
       coalesce((SELECT string_agg(t, ', ') FROM jsonb_array_elements_text(p.rollout -> 'tenants') AS t), '') AS tenants,
       (SELECT count(*) FROM (SELECT FROM pgbaton.shadow AS s WHERE s.pipeline = p.name LIMIT 10001) AS c) AS recorded
  FROM pgbaton.pipelines AS p
  LEFT JOIN pgbaton.adoptions AS a ON a.pipeline = p.name AND a.ended_at IS NULL
 WHERE $1::text IS NULL OR p.name = $1
