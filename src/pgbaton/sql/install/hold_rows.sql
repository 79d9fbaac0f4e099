-- $1 keys: lock these rows, so that they are as the next statement sees them. One that somebody holds is skipped: the key is
-- not returned.
SELECT j.{key}::text AS job_key
  FROM {table} AS j
 WHERE j.{key} IN (SELECT k::{key_type} FROM unnest($1::text[]) AS k)
   FOR NO KEY UPDATE OF j SKIP LOCKED
