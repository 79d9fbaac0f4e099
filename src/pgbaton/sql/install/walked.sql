-- $1 pipeline, $2 the key that the walk goes on behind (null: that was the end), $3 rows looked at, $4 rows by stage so far, as
-- JSON.
UPDATE pgbaton.adoptions AS a
   SET after_key = $2, looked_at = a.looked_at + $3, rows = $4::text::jsonb,
       ended_at = CASE WHEN $2::text IS NULL THEN clock_timestamp() END
 WHERE a.pipeline = $1
