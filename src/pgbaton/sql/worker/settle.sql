-- Write decisions. $1 pipeline, $2 a JSON array of them, one a job (store.py says what each field is).
-- Each is a compare-and-set: on the job's duties, on its call (id, attempt, worker, standing, seen), and where its row is to be
-- written, on that. A job that is not returned was not written: a lock was held, or something has changed; look again. Returned
-- and not written: the table kept the row as it was (a trigger of the user's, a rule).
-- The job's row is not locked where it is only relied on: a change of it leaves a duty or a look, which is decided after
-- this commit; and one that another worker has taken since shows in seen.
WITH verdict AS MATERIALIZED (
    SELECT v.*
      FROM jsonb_to_recordset($2::text::jsonb) AS v (
           key text, row_tenant text, step text, status text, call_id bigint, attempt integer, worker bigint, seen bigint,
           standing text,
           duties bigint[], stays bigint, voids jsonb,
           ended text, stands text, outcome text, error text, http_status integer, answer text, counts boolean,
           delay float8, parked boolean, timeout float8,
           target_step text, target_status text, quiet boolean,
           new_id bigint, new_outcome text, new_error text, new_stage text, new_entry text, new_tenant text, new_at timestamptz,
           round text, missing integer, tick float8,
           next_id bigint, next_at timestamptz, mark bigint)
), paused AS MATERIALIZED (
    -- A resume waits for this, so that nothing is parked behind its back.
    SELECT p.tenant FROM pgbaton.paused_tenants AS p
     WHERE p.pipeline = $1 AND p.resumed_at IS NULL AND p.tenant IN (SELECT v.row_tenant FROM verdict AS v WHERE v.parked)
       FOR SHARE SKIP LOCKED
), sound AS MATERIALIZED (
    SELECT v.*, c.tid, c.stage, c.tenant, c.failures, c.run, c.created_at, c.started_at, c.due_at IS NOT NULL AS waited,
           c.deadline AS known_deadline, c.due_at AS known_due_at,
           c.http_status AS known_status, c.error AS known_error, c.answer AS known_answer, clock_timestamp() AS at
      FROM verdict AS v
     CROSS JOIN LATERAL (
            SELECT count(*) AS locked
              FROM (SELECT FROM pgbaton.due AS d
                     WHERE d.job_key = v.key AND d.pipeline = $1 AND d.id = ANY (v.duties)
                       FOR UPDATE SKIP LOCKED) AS l) AS duty
      LEFT JOIN LATERAL (
            SELECT c.ctid AS tid, c.* FROM pgbaton.calls AS c
             WHERE c.pipeline = $1 AND c.job_key = v.key
               FOR UPDATE SKIP LOCKED) AS c ON true
      LEFT JOIN LATERAL (
            SELECT c.ctid AS tid, c.id FROM pgbaton.calls AS c
             WHERE c.pipeline = $1 AND c.job_key = v.key OFFSET 0) AS was ON true
      LEFT JOIN LATERAL (
            SELECT true AS locked FROM {table} AS j
             WHERE v.target_step IS NOT NULL AND {job_is(v.key)}
               AND {step_text} IS NOT DISTINCT FROM v.step AND {status_text} IS NOT DISTINCT FROM v.status
               FOR NO KEY UPDATE SKIP LOCKED) AS row ON true
     WHERE duty.locked = cardinality(v.duties)
       -- Children end all the time: looks that they leave meanwhile are taken the next time. A duty that the row itself left
       -- meanwhile is compared there, too: the row may have gone and come back, and the children were counted before that.
       AND NOT EXISTS (SELECT FROM pgbaton.due AS o
                        WHERE o.job_key = v.key AND o.pipeline = $1 AND o.id <> ALL (v.duties)
                          AND (v.missing IS NULL OR o.stage <> '' OR o.step IS NOT NULL))
       AND CASE WHEN v.call_id IS NULL
                THEN was.id IS NULL
                ELSE c.tid = was.tid AND  -- not changed since this statement began, so that its parts all see it
                     c.id = v.call_id AND c.attempt = v.attempt AND c.worker IS NOT DISTINCT FROM v.worker
                     AND c.seen IS NOT DISTINCT FROM v.seen
                     AND CASE WHEN c.due_at IS NOT NULL THEN 'waiting'
                              WHEN c.deadline IS NOT NULL THEN 'left' ELSE 'held' END = v.standing END
       AND (v.target_step IS NULL OR row.locked)
), quiet AS MATERIALIZED (
    -- The engine's rewinds leave no duty: the call itself waits. This is said of these keys only, and of the state that is
    -- written here: where a trigger of the user's moves other rows in this statement, or these on, they must leave their
    -- duties. The user's triggers have the search_path that they expect.
    SELECT set_config('pgbaton.quiet', jsonb_build_object($1::text,
               jsonb_object_agg(s.key, jsonb_build_array(s.target_step, s.target_status)) FILTER (WHERE s.quiet))::text, true),
           set_config('search_path', current_setting('pgbaton.search_path', true), true)
      FROM sound AS s
     WHERE s.target_step IS NOT NULL
), moved AS (
    UPDATE {table} AS j
       SET {step} = s.target_step::{step_type}, {put_status}{touch}
      FROM sound AS s, quiet
     WHERE s.target_step IS NOT NULL AND {job_is(s.key)}
       AND {job_among(sound AS o WHERE o.target_step IS NOT NULL)}
    RETURNING s.key
), act AS MATERIALIZED (
    SELECT s.*, d.id IS NOT NULL AS new_due, d.account AS new_account, d.tier AS new_tier,
           CASE WHEN s.stands = 'waiting' AND s.parked AND s.row_tenant IN (SELECT p.tenant FROM paused AS p)
                THEN pgbaton.parked()
                WHEN s.stands = 'waiting' THEN coalesce(s.at + make_interval(secs => s.delay), s.known_due_at) END AS due_at,
           CASE WHEN s.stands <> 'left' THEN NULL
                WHEN s.tick IS NOT NULL THEN s.at + make_interval(secs => s.tick)
                WHEN s.new_id IS NULL AND NOT s.waited
                THEN coalesce(s.known_deadline, s.started_at + make_interval(secs => s.timeout))
                ELSE s.at + make_interval(secs => s.timeout) END AS deadline
      FROM sound AS s
      LEFT JOIN LATERAL (
            SELECT o.id, o.account, o.tier FROM pgbaton.due AS o
             WHERE o.job_key = s.key AND o.pipeline = $1 AND o.id = s.new_id OFFSET 0) AS d ON true
     WHERE s.target_step IS NULL OR s.key IN (SELECT m.key FROM moved AS m)
), gone AS (
    DELETE FROM pgbaton.due AS d
     USING act AS a
     WHERE d.job_key = a.key AND d.pipeline = $1 AND d.id = ANY (a.duties) AND d.id IS DISTINCT FROM a.stays
), removed AS (
    DELETE FROM pgbaton.calls AS c
     WHERE c.ctid = ANY (ARRAY(SELECT a.tid FROM act AS a WHERE a.stands IS NULL AND a.tid IS NOT NULL))
), changed AS (
    UPDATE pgbaton.calls AS c
       SET id = coalesce(a.new_id, c.id), stage = coalesce(a.new_stage, c.stage), entry = coalesce(a.new_entry, c.entry),
           created_at = coalesce(a.new_at, c.created_at),
           tenant = CASE WHEN a.new_id IS NOT NULL THEN a.new_tenant
                         WHEN a.parked THEN a.row_tenant ELSE c.tenant END,  -- it is found again by the tenant that is resumed
           attempt = CASE WHEN a.new_id IS NULL THEN c.attempt + (a.waited AND a.stands = 'left')::integer
                          WHEN a.stands = 'left' THEN 1 ELSE 0 END,
           failures = CASE WHEN a.new_id IS NULL THEN c.failures + a.counts::integer ELSE 0 END,
           worker = CASE WHEN a.new_id IS NULL THEN c.worker END,
           started_at = CASE WHEN a.stands = 'left' AND (a.waited OR a.new_id IS NOT NULL) THEN a.at
                             WHEN a.new_id IS NULL THEN c.started_at END,
           due_at = a.due_at, deadline = a.deadline,
           waits_for = CASE WHEN a.stands = 'waiting' THEN coalesce(a.new_stage, c.stage) END,
           slot = CASE WHEN a.stands = 'waiting' THEN NULL WHEN a.new_id IS NULL THEN c.slot ELSE (
               SELECT s.step FROM pgbaton.stages AS s
                WHERE s.pipeline = $1 AND s.step = a.new_stage AND (s.concurrency IS NOT NULL OR s.governed)) END,
           outcome = CASE WHEN a.new_id IS NOT NULL THEN a.new_outcome
                          WHEN a.stands = 'held' OR a.stands = 'waiting' AND a.waited THEN c.outcome
                          ELSE coalesce(a.outcome, c.outcome) END,
           http_status = CASE WHEN a.stands = 'left' AND a.new_id IS NULL THEN coalesce(a.http_status, c.http_status) END,
           error = CASE WHEN a.new_id IS NOT NULL THEN a.new_error WHEN a.stands = 'left' THEN coalesce(a.error, c.error) END,
           answer = CASE WHEN a.stands = 'left' AND a.new_id IS NULL THEN coalesce(a.answer, c.answer) END,
           -- A duty that a call kept (next_id) has the call's account: both are of the same stage.
           account = CASE WHEN a.new_id IS NULL THEN c.account
                          WHEN a.new_due THEN a.new_account WHEN a.new_stage = c.stage THEN c.account END,
           tier = CASE WHEN a.new_due THEN a.new_tier ELSE c.tier END,
           seen = coalesce(a.mark, c.seen),
           next_id = a.next_id, next_at = a.next_at, missing = a.missing
      FROM act AS a
     WHERE c.ctid = a.tid AND a.stands IS NOT NULL
), begun AS (
    INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, tenant, run, attempt, created_at, started_at, due_at,
                               waits_for, deadline, slot, account, tier, outcome, error)
    SELECT $1, a.key, a.new_id, a.new_stage, a.new_entry, a.new_tenant, a.new_id, CASE a.stands WHEN 'left' THEN 1 ELSE 0 END,
           a.new_at, CASE a.stands WHEN 'left' THEN a.at END, a.due_at, CASE a.stands WHEN 'waiting' THEN a.new_stage END,
           a.deadline,
           CASE a.stands WHEN 'left' THEN (
               SELECT s.step FROM pgbaton.stages AS s
                WHERE s.pipeline = $1 AND s.step = a.new_stage AND (s.concurrency IS NOT NULL OR s.governed)) END,
           a.new_account, a.new_tier, a.new_outcome, a.new_error
      FROM act AS a
     WHERE a.tid IS NULL AND a.new_id IS NOT NULL
), counted AS (
    INSERT INTO pgbaton.rounds AS r (pipeline, job_key, route, taken)
    SELECT $1, a.key, a.round, 1 FROM act AS a WHERE a.round IS NOT NULL
        ON CONFLICT (pipeline, job_key, route) DO UPDATE SET taken = r.taken + 1, at = clock_timestamp()
), written AS (
    INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, failures, worker, outcome, state,
                                 http_status, error, answer, created_at, started_at, ended_at)
    SELECT a.call_id, a.attempt, NOT a.waited, $1, a.key, a.tenant, a.stage, a.run, a.failures + a.counts::integer, a.worker,
           a.outcome, a.ended, coalesce(a.http_status, a.known_status), coalesce(a.error, a.known_error),
           coalesce(a.answer, a.known_answer), a.created_at, a.started_at, a.at
      FROM act AS a
     WHERE a.ended IS NOT NULL OR a.stands = 'waiting' AND a.call_id IS NOT NULL AND NOT a.waited
    UNION ALL
    SELECT v.id, 0, false, $1, a.key, coalesce(a.tenant, a.new_tenant), v.stage, coalesce(a.run, v.id), 0, NULL,
           CASE v.state WHEN 'completed' THEN 'completed' ELSE 'superseded' END, v.state, NULL, NULL, NULL, v.at, NULL, a.at
      FROM act AS a
     CROSS JOIN LATERAL jsonb_to_recordset(a.voids) AS v (id bigint, stage text, state text, at timestamptz)
)
SELECT s.key, a.key IS NOT NULL AS written, extract(epoch FROM nullif(a.due_at, pgbaton.parked()) - a.at)::float8 AS due_in
  FROM sound AS s
  LEFT JOIN act AS a ON a.key = s.key
