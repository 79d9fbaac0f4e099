-- $1 worker: it holds nothing any more and goes.
DELETE FROM pgbaton.workers WHERE id = $1
