-- Calls that wait and are due, as pgbaton.admit() grants them: the head of the statement; the rest of it is claim_waiting.sql's,
-- from `judged` on, and its parameters.
WITH admitted AS MATERIALIZED (
    SELECT * FROM pgbaton.admit($1, $2, $3, $6, $7, $4, $5, true, NULL)
), found AS MATERIALIZED (
    SELECT n.*, a.entry AS now_entry, a.entry_status, a.limited, a.probing
      FROM admitted AS a
     CROSS JOIN LATERAL (
            SELECT c.ctid AS tid, c.* FROM pgbaton.calls AS c
             WHERE c.pipeline = $1 AND c.waits_for = a.stage AND coalesce(c.tenant, '') COLLATE "C" = a.lane
               AND c.due_at <= statement_timestamp()
             ORDER BY c.due_at
             LIMIT a.may
               FOR UPDATE SKIP LOCKED) AS n
     WHERE a.lane IS NOT NULL
    UNION ALL
    SELECT n.*, a.entry, a.entry_status, a.limited, a.probing
      FROM admitted AS a
     CROSS JOIN LATERAL (
            SELECT c.ctid AS tid, c.* FROM pgbaton.calls AS c
             WHERE c.pipeline = $1 AND c.waits_for = a.stage AND c.due_at <= statement_timestamp()
             ORDER BY c.due_at
             LIMIT a.may
               FOR UPDATE SKIP LOCKED) AS n
     WHERE a.lane IS NULL
