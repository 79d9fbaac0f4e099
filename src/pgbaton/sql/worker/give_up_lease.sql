-- $1 worker: it holds nothing any more and goes. A lease in the place of this one, which it asked for and did not hear of,
-- ends, too.
UPDATE pgbaton.workers SET ended_at = clock_timestamp() WHERE (id = $1 OR instead_of = $1) AND ended_at IS NULL
