
    UNION ALL
    -- Duties of lanes, in the order of their ranks.
    SELECT n.*, g.entry, g.entry_status, g.limited, g.probing
      FROM granted AS g
     CROSS JOIN LATERAL (
            SELECT d.ctid AS tid, d.id, d.stage, d.job_key, d.tenant, d.step, d.status, d.created_at, d.account, d.tier
              FROM pgbaton.due AS d
             WHERE d.pipeline = $1 AND d.stage = g.stage
               AND pgbaton.lane(d.tenant, d.account) COLLATE "C" = g.lane AND d.rank IS NOT NULL
             ORDER BY d.rank, d.id
             LIMIT g.may
               FOR UPDATE SKIP LOCKED) AS n
     WHERE g.lane IS NOT NULL
