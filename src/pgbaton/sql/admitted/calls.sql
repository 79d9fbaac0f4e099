
    UNION ALL
    -- Calls of lanes, the one first that has been due for longest.
    SELECT n.*, g.entry AS now_entry, g.entry_status, g.limited, g.probing
      FROM granted AS g
     CROSS JOIN LATERAL (
            SELECT c.ctid AS tid, c.* FROM pgbaton.calls AS c
             WHERE c.pipeline = $1 AND c.waits_for = g.stage
               AND pgbaton.lane(c.tenant, c.account) COLLATE "C" = g.lane
               AND c.due_at <= statement_timestamp()
             ORDER BY c.due_at
             LIMIT g.may
               FOR UPDATE SKIP LOCKED) AS n
     WHERE g.lane IS NOT NULL
