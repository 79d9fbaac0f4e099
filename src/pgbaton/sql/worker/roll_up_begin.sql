-- $1 pipeline: roll-up begins with the hour of what ended first.
INSERT INTO pgbaton.throughput_to (pipeline, rolled_to)
SELECT p.name, date_bin(interval '1 hour', coalesce((SELECT h.ended_at FROM pgbaton.history AS h ORDER BY h.ended_at LIMIT 1),
                                                    statement_timestamp()), timestamptz '2000-01-03 00:00:00+00')
  FROM pgbaton.pipelines AS p
 WHERE p.name = $1
ON CONFLICT DO NOTHING
RETURNING pipeline
