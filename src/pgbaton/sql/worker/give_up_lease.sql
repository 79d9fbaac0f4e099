-- $1 worker: it holds nothing any more and goes, with a lease in the place of this one that it did not hear of.
UPDATE pgbaton.workers SET ended_at = clock_timestamp() WHERE (id = $1 OR instead_of = $1) AND ended_at IS NULL
