-- $1 keys: lock these rows, so that they are as the next statement sees them. A row that another transaction has
-- locked is skipped: its key is not returned.
SELECT {job_key} AS job_key
  FROM unnest($1::text[]) AS k (key)
  JOIN {table} AS j ON {job_is(k.key)}
   FOR NO KEY UPDATE OF j SKIP LOCKED
