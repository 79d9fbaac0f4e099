-- $1 pipeline: its walk over rows of the past that has not ended, locked: one at a time goes on with it.
SELECT a.mode, a.after_key, a.looked_at, a.rows::text AS rows FROM pgbaton.adoptions AS a
 WHERE a.pipeline = $1 AND a.ended_at IS NULL FOR UPDATE
