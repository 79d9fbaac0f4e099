-- $1 job key: where the job is.
SELECT {row} FROM {table} AS j WHERE {job_is($1::text)}
