-- $1 pipeline, $2 job keys: leave the duties that are missing, by the rows as they are now, each under its lock. A row that
-- another transaction has locked is left for the next time. $3: rows of the past, too.
WITH job AS MATERIALIZED (
    SELECT {job_key} AS job_key, {tenant} AS tenant, {step_text} AS step, {status_text} AS status,
           {routed_to} AS stage, CASE {status_text} WHEN 'failed' THEN {step_text} END AS failing,  -- called again, perhaps
           {rank} AS rank, {later} AS later, {account} AS account, {tier} AS tier
      FROM unnest($2::text[]) AS k (key)
      JOIN {table} AS j ON {job_is(k.key)}
     WHERE {routed_to} IS NOT NULL AND {key_fits}  -- as the trigger has it
       FOR NO KEY UPDATE OF j SKIP LOCKED
), created AS (
    INSERT INTO pgbaton.due (pipeline, stage, job_key, tenant, step, status, rank, not_before, account, tier)
    SELECT $1, s.step, job.job_key, job.tenant, job.step, job.status,
           CASE WHEN s.takes_turns AND job.later IS NULL THEN job.rank END,
           CASE WHEN s.takes_turns THEN job.later END, job.account ->> s.step, CASE WHEN s.takes_turns THEN job.tier END
      FROM job
      JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.step = job.stage AND s.routed
                            AND s.after = job.step AND s.status = job.status
     WHERE NOT EXISTS (SELECT FROM pgbaton.due AS d
                        WHERE d.job_key = job.job_key AND d.pipeline = $1 AND d.stage = s.step)
       AND NOT EXISTS (SELECT FROM pgbaton.calls AS c
                        WHERE c.pipeline = $1 AND c.job_key = job.job_key AND c.stage IN (s.step, job.failing))
       AND pgbaton.is_live($1, job.job_key, job.tenant)
       AND ($3 OR NOT pgbaton.left_alone($1, job.job_key, job.step, job.status)
                  AND NOT pgbaton.refused_at($1, job.job_key, s.step))
    RETURNING job_key, stage
), taken_up AS (
    DELETE FROM pgbaton.past AS p WHERE p.pipeline = $1 AND p.job_key = ANY (ARRAY(SELECT job_key FROM created))
), woken AS (
    SELECT pg_notify('pgbaton_wake', $1) WHERE EXISTS (SELECT FROM created)
)
SELECT job_key, stage, (SELECT count(*) FROM woken) FROM created
