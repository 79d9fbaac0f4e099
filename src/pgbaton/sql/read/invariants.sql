-- $1 pipeline: the invariants that are broken: each with how many jobs break it, and a few job keys. Rows and journal are read
-- in one snapshot. A job of which a look or a void duty waits is excused: a worker is about to put it right.
WITH open_dispatch AS MATERIALIZED (
    SELECT d.*, s.after, s.status AS after_status, s.kind, {present} AS present, {step_text} AS step, {status_text} AS status,
           EXISTS (SELECT FROM pgbaton.due AS c
                    WHERE c.job_key = d.job_key AND c.pipeline = d.pipeline AND c.id >= d.id) AS excused
      FROM pgbaton.dispatches AS d
      LEFT JOIN pgbaton.stages AS s ON s.pipeline = d.pipeline AND s.step = d.stage
      LEFT JOIN {table} AS j ON {job_is(d.job_key)}
     WHERE d.pipeline = $1 AND d.state IN ('available', 'running', 'retryable')
), broken AS (
    SELECT 'a job in a routed state has an open dispatch' AS invariant, {job_key} AS job_key
      FROM {table} AS j
      JOIN pgbaton.stages AS s ON s.pipeline = $1 AND s.routed AND s.step = {routed_to}
                            AND s.after = {step_text} AND s.status = {status_text}
     WHERE {key_fits}
       AND NOT EXISTS (SELECT FROM pgbaton.due AS d
                        WHERE d.job_key = {job_key} AND d.pipeline = $1 AND d.stage = s.step)
       AND NOT EXISTS (SELECT FROM pgbaton.calls AS c
                        WHERE c.pipeline = $1 AND c.job_key = {job_key}
                          AND c.stage IN (s.step, CASE s.status WHEN 'failed' THEN s.after END))
       AND NOT pgbaton.left_alone($1, {job_key}, s.after, s.status) AND NOT pgbaton.refused_at($1, {job_key}, s.step)
       AND pgbaton.is_live($1, {job_key}, {tenant})
    UNION ALL
    SELECT 'an open dispatch is for a job that its stage can be called for, or works on', job_key
      FROM open_dispatch
     WHERE NOT excused
       AND (NOT present OR NOT ((step, status) IS NOT DISTINCT FROM (after, after_status)
                                OR kind = 'call' AND step IS NOT DISTINCT FROM stage AND status IN ('running', 'failed')))
    UNION ALL
    SELECT 'a call under way has its worker on record, and when it began', c.job_key
      FROM pgbaton.calls AS c
     WHERE c.pipeline = $1 AND c.due_at IS NULL
       AND (c.started_at IS NULL OR c.attempt < 1
            OR c.deadline IS NULL AND NOT EXISTS (SELECT FROM pgbaton.workers AS w WHERE w.id = c.worker))
    UNION ALL
    SELECT 'a call that waits was not called, or has its attempts on record', c.job_key
      FROM pgbaton.calls AS c
     WHERE c.pipeline = $1 AND c.due_at IS NOT NULL AND c.attempt > 0
       AND NOT EXISTS (SELECT FROM pgbaton.history AS h WHERE h.id = c.id AND h.attempt = c.attempt AND h.called)
    UNION ALL
    SELECT 'a dispatch that ended is not open', d.job_key
      FROM pgbaton.history AS h
      JOIN open_dispatch AS d ON d.id = h.id
     WHERE h.state IS NOT NULL
    UNION ALL
    SELECT 'no attempt that ended is newer than its dispatch knows', c.job_key
      FROM pgbaton.calls AS c
      JOIN pgbaton.history AS h ON h.id = c.id AND h.called AND h.attempt >= c.attempt + (c.due_at IS NOT NULL)::integer
     WHERE c.pipeline = $1
    UNION ALL
    SELECT 'calls that follow one another do not overlap', later.job_key
      FROM (SELECT h.job_key, h.started_at,
                   lag(h.ended_at) OVER (PARTITION BY h.job_key ORDER BY h.id, h.attempt) AS ended_before
              FROM pgbaton.history AS h
             WHERE h.pipeline = $1 AND h.called) AS later
     WHERE later.started_at < later.ended_before
)
SELECT invariant, count(*) AS broken, (array_agg(job_key ORDER BY job_key))[1:5] AS examples
  FROM broken GROUP BY invariant ORDER BY invariant
