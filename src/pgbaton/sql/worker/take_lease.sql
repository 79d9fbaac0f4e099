-- $1 pipeline, $2 the old lease (null: none), $3 name, $4 capacity, $5 lease in seconds, $6 and $7 the attempts in this worker's
-- hands, as dispatch ids and attempts; $8 the stages that it takes.
SELECT worker, kept_ids, kept_attempts FROM pgbaton.take_lease($1, $2, $3, $4, $5, $6, $7, $8)
