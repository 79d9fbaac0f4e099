-- $1 job keys, $2 the parents' pipeline: leave the parents a look, as the trigger does where it sees a child's end.
WITH told AS (
    INSERT INTO pgbaton.due (pipeline, stage, job_key, status)
    SELECT $2, '', j.{parent_key}::text, {status_text}
      FROM {table} AS j
     WHERE j.{key} IN (SELECT k::{key_type} FROM unnest($1::text[]) AS k) AND pg_column_size(j.{parent_key}) <= 2640
    RETURNING 1
)
SELECT pg_notify('pgbaton_wake', $2) WHERE EXISTS (SELECT FROM told)
