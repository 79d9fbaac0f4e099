-- $1 pipeline: its last whole census and the one that is under way; its stages; whether the table says
-- when a row was changed; and when a trigger of it was last found amiss.
SELECT clock_timestamp() AS at, c.whole_began_at, c.whole_ended_at, c.whole_seen, c.whole::text AS whole, c.seen,
       extract(epoch FROM c.whole_ended_at - c.whole_began_at)::float8 AS took,
       extract(epoch FROM clock_timestamp() - c.whole_ended_at)::float8 AS age,
       (SELECT coalesce(json_agg(json_build_array(s.step, s.after, s.status, s.routed)), '[]')
          FROM pgbaton.stages AS s WHERE s.pipeline = p.name)::text AS stages,
       EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = p.job_table AND a.attname = 'updated_at' AND NOT a.attisdropped
                                           AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)) AS dated,
       (SELECT max(coalesce(f.ended_at, f.seen_at)) FROM pgbaton.findings AS f
         WHERE f.pipeline = p.name AND f.code IN ('trigger_missing', 'trigger_disabled')) > c.whole_began_at AS unseen
  FROM pgbaton.pipelines AS p
  LEFT JOIN pgbaton.census AS c ON c.pipeline = p.name
 WHERE p.name = $1
