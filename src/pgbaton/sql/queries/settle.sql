-- Act on decisions, each a compare-and-set on the attempt and on the row that was seen when it was made.
-- Locks: job row, dispatch, attempt. A job row that somebody holds is skipped, not waited for. What is not
-- returned was not settled: look and decide again.
WITH input AS (
    SELECT *
      FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::float8[],
                  $8::text[], $9::text[])
        AS i (id, attempt, worker, verb, outcome, error, pause, seen_step, seen_status)
), job AS MATERIALIZED (
    SELECT i.id, i.attempt, i.worker, i.outcome, i.error, i.pause, d.job_key, d.stage, s.after, s.timeout,
           d.failures, i.seen_step, i.seen_status,
           v.verb,
           CASE v.verb WHEN 'complete' THEN 'completed'
                       WHEN 'cancel' THEN 'cancelled'
                       WHEN 'wait' THEN 'running'
                       WHEN 'fail' THEN pgbaton.state_after_failure(d.failures + 1, s.attempts)
                       WHEN 'kill' THEN 'dead'
                       WHEN 'defer' THEN 'retryable'
                       WHEN 'release' THEN 'available' END AS state
      FROM input AS i
     CROSS JOIN LATERAL (SELECT * FROM ONLY pgbaton.dispatches WHERE id = i.id OFFSET 0) AS d  -- one look-up each
      JOIN pgbaton.stages AS s ON s.pipeline = d.pipeline AND s.step = d.stage
     -- A stage that says "not now" for a day is failing.
     CROSS JOIN LATERAL (
            SELECT CASE WHEN i.verb = 'defer' AND d.created_at < clock_timestamp() - interval '1 day' THEN 'fail'
                        ELSE i.verb END AS verb
           ) AS v
     CROSS JOIN LATERAL (
            SELECT FROM {table} AS j
             WHERE j.{key} = d.job_key::{key_type}
               AND j.{step}::text IS NOT DISTINCT FROM i.seen_step
               AND j.{status}::text IS NOT DISTINCT FROM i.seen_status
             LIMIT 1
               FOR NO KEY UPDATE SKIP LOCKED
           ) AS held
), settled AS (
    UPDATE ONLY pgbaton.dispatches AS d
       SET state = job.state,
           failures = d.failures + (job.verb = 'fail')::integer,
           worker = NULL,
           deadline = CASE WHEN job.verb = 'wait' THEN
               (SELECT t.started_at + job.timeout FROM pgbaton.attempts AS t
                 WHERE t.dispatch_id = d.id AND t.attempt = d.attempt) END,
           available_at = CASE
               WHEN job.state <> 'retryable' THEN d.available_at
               WHEN job.verb = 'fail' THEN clock_timestamp() + pgbaton.backoff(d.failures + 1)
               WHEN job.pause IS NOT NULL THEN clock_timestamp() + make_interval(secs => job.pause)
               ELSE clock_timestamp() + least(pgbaton.backoff(d.attempt - d.failures), interval '30 s') END,
           settled_at = CASE WHEN job.state IN ('completed', 'dead', 'cancelled') THEN clock_timestamp() END
      FROM job
     WHERE d.id = job.id AND d.id = ANY ($1) AND d.attempt = job.attempt
       AND d.state NOT IN ('available', 'retryable')  -- running; but not all that runs is to be looked through
       AND d.worker IS NOT DISTINCT FROM job.worker
    RETURNING d.id, d.attempt, d.state, d.job_key, job.stage, job.after, job.verb, job.outcome, job.error,
              job.seen_step, job.seen_status
), finished AS (
    UPDATE pgbaton.attempts AS t
       SET outcome = s.outcome, error = coalesce(s.error, t.error),
           finished_at = CASE WHEN s.verb = 'wait' THEN NULL ELSE clock_timestamp() END
      FROM settled AS s
     WHERE t.dispatch_id = s.id AND t.dispatch_id = ANY ($1) AND t.attempt = s.attempt AND t.finished_at IS NULL
), moved AS (
    -- What is given up is written into the row; what will be called again is rewound.
    UPDATE {table} AS j
       SET {step} = (CASE s.state WHEN 'dead' THEN s.stage ELSE s.after END)::{step_type},
           {status} = (CASE s.state WHEN 'dead' THEN 'failed' ELSE 'done' END)::{status_type}{touch}
      FROM settled AS s
     WHERE j.{key} = s.job_key::{key_type} AND j.{key} = ANY (ARRAY(SELECT settled.job_key::{key_type} FROM settled))
       AND CASE WHEN s.state = 'dead' THEN (s.seen_step, s.seen_status) IS DISTINCT FROM (s.stage, 'failed')
                ELSE s.verb IN ('fail', 'defer', 'release') AND (s.seen_step, s.seen_status) = (s.stage, 'running') END
)
SELECT id, state FROM settled
