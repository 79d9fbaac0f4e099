-- $1 pipeline, $2 jobs: a person has them run again, so their bounded routes are counted from nothing.
DELETE FROM pgbaton.rounds WHERE pipeline = $1 AND job_key = ANY ($2::text[])
