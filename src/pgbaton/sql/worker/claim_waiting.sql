-- Claim calls that wait and are due. $1 to $5 as in turn.sql, $6 and $7 as its $14 and $15. Returns a row for each that was
-- found. plain: it is claimed; its row is at the entry, or failed and to be rewound before the call. Not plain: it is left where
-- it was, to be looked at.
WITH granted AS MATERIALIZED (
    SELECT * FROM {granted}
), found AS MATERIALIZED (
    SELECT * FROM (
    SELECT n.*, g.entry AS now_entry, g.entry_status, g.limited, g.probing
      FROM granted AS g
     CROSS JOIN LATERAL (
            SELECT c.ctid AS tid, c.* FROM pgbaton.calls AS c
             WHERE c.pipeline = $1 AND c.waits_for = g.stage AND c.due_at <= statement_timestamp()
             ORDER BY c.due_at
             LIMIT g.may
               FOR UPDATE SKIP LOCKED) AS n{unless_in_turn}
     LIMIT $5) AS calls{in_turn}
), judged AS MATERIALIZED (
    SELECT f.*, j.tenant AS row_tenant, j.step, j.status, clock_timestamp() AS at,
           coalesce(j.present AND (j.step = f.now_entry AND j.status = f.entry_status OR j.step = f.stage AND j.status = 'failed')
                    AND f.next_id IS NULL
                    AND NOT EXISTS (SELECT FROM pgbaton.due AS o WHERE o.job_key = f.job_key AND o.pipeline = $1 OFFSET 0)
                    AND coalesce(j.tenant, '') <> ALL (ARRAY(
                        SELECT p.tenant FROM pgbaton.paused_tenants AS p
                         WHERE p.pipeline = $1 AND p.resumed_at IS NULL)), false) AS plain
      FROM found AS f
      LEFT JOIN LATERAL (SELECT {row} FROM {table} AS j WHERE {job_is(f.job_key)} OFFSET 0) AS j ON true
), claimed AS (
    UPDATE pgbaton.calls AS c
       SET attempt = c.attempt + 1, worker = $2, started_at = d.at, due_at = NULL, waits_for = NULL,
           slot = CASE WHEN d.limited THEN d.stage END, outcome = NULL, seen = NULL
      FROM judged AS d
     WHERE c.ctid = d.tid AND d.plain
    RETURNING c.id  -- not where the call has changed since this statement began
), dealt AS MATERIALIZED (
    SELECT d.*, d.plain AND d.id = ANY (ARRAY(SELECT id FROM claimed)) AS done FROM judged AS d
), probed AS (
    UPDATE pgbaton.stages AS s SET open_until = clock_timestamp() + interval '15 s'
     WHERE s.pipeline = $1 AND s.step = ANY (ARRAY(SELECT d.stage FROM dealt AS d WHERE d.done AND d.probing))
){paid}
SELECT d.id, d.stage, d.job_key, d.done AS plain,
       NULL::bigint AS ended_id, d.attempt + 1 AS attempt, d.run, d.row_tenant, d.account, d.step, d.status,
       d.probing, (extract(epoch FROM d.created_at) * 1000000)::bigint AS made,
       extract(epoch FROM d.at - d.due_at)::float8 AS waited
  FROM dealt AS d{kept_back}
