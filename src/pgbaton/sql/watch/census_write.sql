-- $1 pipeline, $2 the key that the page began behind, $3 when this census began, $4 the key to go on behind (null: that was the
-- end), $5 all found so far, $6 rows seen so far. No row where another worker has gone on meanwhile.
UPDATE pgbaton.census AS c
   SET next_key = $4,
       so_far = CASE WHEN $4::text IS NULL THEN '[]' ELSE $5::text::jsonb END,
       seen = CASE WHEN $4::text IS NULL THEN 0 ELSE $6::bigint END,
       began_at = CASE WHEN $4::text IS NULL THEN clock_timestamp() ELSE c.began_at END,
       whole_began_at = CASE WHEN $4::text IS NULL THEN c.began_at ELSE c.whole_began_at END,
       whole_ended_at = CASE WHEN $4::text IS NULL THEN clock_timestamp() ELSE c.whole_ended_at END,
       whole_seen = CASE WHEN $4::text IS NULL THEN $6::bigint ELSE c.whole_seen END,
       whole = CASE WHEN $4::text IS NULL THEN $5::text::jsonb ELSE c.whole END
 WHERE c.pipeline = $1 AND c.next_key IS NOT DISTINCT FROM $2::text AND c.began_at = $3
RETURNING c.pipeline
