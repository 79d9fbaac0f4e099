-- $1 job keys, $2 the parents' pipeline: leave the parents a look, as the trigger does where it sees a child's end.
WITH told AS (
    INSERT INTO pgbaton.due (pipeline, stage, job_key, status)
    SELECT $2, '', {parent_key}, {status_text}
      FROM unnest($1::text[]) AS k (key)
      JOIN {table} AS j ON {job_is(k.key)}
     WHERE {has_parent}
    RETURNING 1
)
SELECT pg_notify('pgbaton_wake', $2) WHERE EXISTS (SELECT FROM told)
