-- A turn: take duties and looks, end what they end, and claim the everyday ones in place of it.
-- $1 pipeline, $2 worker, $3 known stages, $4 for each: the id to begin at, $5 duties to take at most, $6 whether to call
-- any of them, $7 the id to begin looks at, $8 looks to take at most; $9 to $13 the answers that came since: dispatch ids,
-- attempts, HTTP statuses, errors, bodies; $14 and $15 for each known stage: the (step, status) in which the worker calls it; $16
-- the passages: their ends are decided with the whole job, for a wait is ended by the move of its row, and a turn would take that
-- move for a stage that did its work.
-- Raises PB001 where the worker holds no lease, PB002 in a copy of its database. Returns a row for each duty and look that was
-- taken. plain: it is dealt with, and (unless it is a look) it is the job's call now; ended_id names the dispatch that it
-- completed. Not plain: it is left where it was, to be looked at with all that there is of its job. Returns also a row for each
-- answer to an attempt that an earlier turn had ended, by the duty that came before the answer: outcome and state say how.
-- A duty is the token: a turn that does not get the lock of a job's only duty, or of its call, leaves the job alone. Rows are
-- named by ctid once they are locked, which no plan can get wrong. The job's row is read with this statement's snapshot:
-- where it has moved on since, its next duty is on its way.
-- The parts granted to kept_back are put in by sql/__init__.py: granted.sql and nothing else, or, where something limits or
-- orders the calls, pgbaton.admit() and the files of admitted/.
WITH granted AS MATERIALIZED (
    SELECT * FROM {granted}
), taken AS MATERIALIZED (
    SELECT * FROM (
        SELECT d.ctid AS tid, d.id, d.stage, d.job_key, d.tenant, d.step, d.status, d.created_at, d.account, d.tier,
               d.step AS entry, d.status AS entry_status, false AS limited, false AS probing
          FROM pgbaton.due AS d
         WHERE d.pipeline = $1 AND d.stage = '' AND d.id >= $7
         ORDER BY d.id
         LIMIT $8
           FOR UPDATE SKIP LOCKED) AS looks
    UNION ALL
    SELECT * FROM (
        SELECT n.*, g.entry, g.entry_status, g.limited, g.probing
          FROM granted AS g
         CROSS JOIN LATERAL (
                SELECT d.ctid AS tid, d.id, d.stage, d.job_key, d.tenant, d.step, d.status, d.created_at, d.account, d.tier
                  FROM pgbaton.due AS d
                 WHERE d.pipeline = $1 AND d.stage = g.stage AND d.id >= g.first_id
                 ORDER BY d.id
                 LIMIT g.may
                   FOR UPDATE SKIP LOCKED) AS n{unless_in_turn}
         LIMIT greatest($5, 1)  -- not 0: nothing would ask for the grants, and with them the lease
        ) AS duties{in_turn}
), judged AS MATERIALIZED (
    SELECT t.*, c.tid AS call_tid, c.id AS ended_id, c.attempt, c.failures, c.tenant AS call_tenant, c.run, c.worker,
           c.due_at, c.created_at AS call_created_at, c.started_at,
           CASE WHEN ($10::integer[])[array_position($9::bigint[], c.id)] = c.attempt
                THEN array_position($9::bigint[], c.id) END AS answer,
           j.tenant AS row_tenant, clock_timestamp() AS at,
           -- The look of a child whose parent gathers is asked first: 200 of one parent take 2.2 ms so, and 5.3 where each steps
           -- over the others.
           CASE WHEN t.stage = '' AND t.step IS NULL AND c.id IS NOT NULL THEN false
                WHEN EXISTS (SELECT FROM pgbaton.due AS o
                              WHERE o.job_key = t.job_key AND o.pipeline = $1 AND o.id <> t.id) THEN false
                -- The call is locked: an INSERT would wait for that lock. OFFSET keeps it from a plan that reads all calls.
                WHEN c.id IS NULL AND EXISTS (SELECT FROM pgbaton.calls AS o
                                               WHERE o.pipeline = $1 AND o.job_key = t.job_key OFFSET 0) THEN false
                WHEN c.id IS NULL AND t.stage = '' THEN true
                ELSE coalesce(j.present AND j.step = t.step AND t.step = t.entry AND j.status = t.status
                              AND t.status = t.entry_status
                              AND (c.id IS NULL
                                   OR c.stage = t.step AND (t.status = 'done' OR t.stage <> '' AND t.status <> 'failed')
                                   AND c.id < t.id AND c.seen IS NULL AND c.stage <> ALL ($16::text[]))
                              AND (t.stage = '' OR $6 AND coalesce(j.tenant, '') <> ALL (ARRAY(
                                   SELECT p.tenant FROM pgbaton.paused_tenants AS p
                                    WHERE p.pipeline = $1 AND p.resumed_at IS NULL))), false)
           END AS plain
      FROM taken AS t
      LEFT JOIN LATERAL (
            SELECT c.ctid AS tid, c.* FROM pgbaton.calls AS c
             WHERE c.pipeline = $1 AND c.job_key = t.job_key
               FOR UPDATE SKIP LOCKED) AS c ON true
      LEFT JOIN LATERAL (
            SELECT {row} FROM {table} AS j WHERE {job_is(t.job_key)} OFFSET 0) AS j ON true
), moved AS (
    UPDATE pgbaton.calls AS c
       SET id = d.id, stage = d.stage, entry = d.step, tenant = d.tenant, attempt = 1, failures = 0, worker = $2,
           created_at = d.created_at, started_at = d.at, due_at = NULL, waits_for = NULL, deadline = NULL,
           slot = CASE WHEN d.limited THEN d.stage END, account = d.account, tier = d.tier,
           outcome = NULL, http_status = NULL, error = NULL, answer = NULL
      FROM judged AS d
     WHERE c.ctid = d.call_tid AND d.plain AND d.stage <> ''
    RETURNING d.id  -- not where the call has changed since this statement began
), begun AS (
    INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, tenant, run, attempt, worker, created_at, started_at,
                               slot, account, tier)
    SELECT $1, d.job_key, d.id, d.stage, d.step, d.tenant, d.id, 1, $2, d.created_at, d.at,
           CASE WHEN d.limited THEN d.stage END, d.account, d.tier
      FROM judged AS d
     WHERE d.plain AND d.stage <> '' AND d.call_tid IS NULL
        ON CONFLICT DO NOTHING  -- the call has come since this statement began
    RETURNING id
), ended AS (
    DELETE FROM pgbaton.calls AS c
     USING judged AS d
     WHERE c.ctid = d.call_tid AND d.plain AND d.stage = ''
    RETURNING d.id
), dealt AS MATERIALIZED (
    SELECT d.*, d.plain AND (d.stage = '' AND d.call_tid IS NULL
                             OR d.id = ANY (ARRAY(SELECT id FROM moved UNION ALL SELECT id FROM begun
                                                   UNION ALL SELECT id FROM ended))) AS done
      FROM judged AS d
), gone AS (
    DELETE FROM pgbaton.due AS d WHERE d.ctid = ANY (ARRAY(SELECT t.tid FROM dealt AS t WHERE t.done))
), probed AS (
    UPDATE pgbaton.stages AS s SET open_until = clock_timestamp() + interval '15 s'
     WHERE s.pipeline = $1 AND s.step = ANY (ARRAY(SELECT d.stage FROM dealt AS d WHERE d.done AND d.probing))
), written AS (
    INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, failures, worker, outcome, state,
                                 http_status, error, answer, created_at, started_at, ended_at)
    SELECT d.ended_id, d.attempt, d.due_at IS NULL, $1, d.job_key, d.call_tenant, d.step, d.run, d.failures, d.worker,
           'completed', 'completed', ($11::integer[])[d.answer], ($12::text[])[d.answer], ($13::text[])[d.answer],
           d.call_created_at, d.started_at, d.at
      FROM dealt AS d
     WHERE d.done AND d.call_tid IS NOT NULL
), noted AS (
    UPDATE pgbaton.history AS h
       SET http_status = a.http_status, error = coalesce(h.error, a.error), answer = a.body
      FROM unnest($9::bigint[], $10::integer[], $11::integer[], $12::text[], $13::text[])
        AS a (id, attempt, http_status, error, body)
     WHERE h.id = a.id AND h.attempt = a.attempt AND h.called AND h.id = ANY ($9)
    RETURNING h.id, h.attempt, h.outcome, h.state
){paid}
SELECT d.id, d.stage, d.job_key, d.done AS plain, d.ended_id, coalesce(d.run, d.id) AS run, d.row_tenant, d.account,
       d.step, d.status,
       d.probing, (extract(epoch FROM d.created_at) * 1000000)::bigint AS made,
       extract(epoch FROM d.at - d.created_at)::float8 AS waited, NULL::integer AS attempt, NULL::text AS outcome,
       NULL::text AS state
  FROM dealt AS d
 UNION ALL
SELECT n.id, NULL, NULL, true, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, n.attempt, n.outcome, n.state
  FROM noted AS n{kept_back}
