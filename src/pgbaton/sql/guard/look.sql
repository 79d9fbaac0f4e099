-- $1 job key: where the job is.
SELECT {row} FROM {table} AS j WHERE j.{key} = $1::text::{key_type}
