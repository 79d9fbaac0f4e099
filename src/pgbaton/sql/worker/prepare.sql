-- Put the rows of claimed calls where their stages expect them. $1 pipeline, $2 worker, $3 job keys, $4 dispatch ids,
-- $5 attempts, $6 and $7 the states they must be in, $8 and $9 the states to put them in. A worker that was away for too
-- long moves nothing; a locked row is skipped. Returns the keys of the rows that were moved.
WITH mine AS MATERIALIZED (
    SELECT w.*
      FROM unnest($3::text[], $4::bigint[], $5::integer[], $6::text[], $7::text[], $8::text[], $9::text[])
        AS w (key, id, attempt, from_step, from_status, target_step, target_status)
     CROSS JOIN LATERAL (
            SELECT FROM pgbaton.calls AS c
             WHERE c.pipeline = $1 AND c.job_key = w.key AND c.id = w.id AND c.attempt = w.attempt AND c.worker = $2
               AND c.due_at IS NULL AND c.deadline IS NULL  -- held: what was rescued still names its last worker
               FOR UPDATE SKIP LOCKED) AS held
     CROSS JOIN LATERAL (
            SELECT FROM {table} AS j
             WHERE {job_is(w.key)} AND {step_text} = w.from_step AND {status_text} = w.from_status
               FOR NO KEY UPDATE SKIP LOCKED) AS row
), quiet AS MATERIALIZED (
    SELECT set_config('pgbaton.quiet', jsonb_build_object($1::text,
               jsonb_object_agg(m.key, jsonb_build_array(m.target_step, m.target_status)))::text, true),
           set_config('search_path', current_setting('pgbaton.search_path', true), true)  -- for the user's triggers
      FROM mine AS m
)
UPDATE {table} AS j
   SET {step} = s.target_step::{step_type}, {put_status}{touch}
  FROM mine AS s, quiet
 WHERE {job_is(s.key)} AND {job_among(mine AS o)}
RETURNING s.key
