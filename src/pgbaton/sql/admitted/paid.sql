, spent AS (
    -- The rates of the stage and of the tenant are paid for the calls that this claim has made.
    INSERT INTO pgbaton.spent AS b (pipeline, stage, tenant, at, until)
    SELECT $1, p.stage, p.payer, p.at, p.at + make_interval(secs => count(*) / p.rate)
      FROM dealt AS d
     CROSS JOIN LATERAL (
            SELECT r.* FROM granted AS g
             CROSS JOIN LATERAL (VALUES (g.stage, '', g.rate, g.at), (g.stage, '=' || coalesce(d.tenant, ''), g.lane_rate, g.at))
                        AS r (stage, payer, rate, at)
             WHERE g.stage = d.stage AND g.may > 0 AND r.rate IS NOT NULL
               AND (g.lane IS NULL OR g.lane = (coalesce(d.tenant, '') || coalesce(E'\x1f' || d.account, '')) COLLATE "C")) AS p
     WHERE d.done AND d.stage <> ''
     GROUP BY p.stage, p.payer, p.rate, p.at
        ON CONFLICT (pipeline, stage, tenant) DO UPDATE
       SET at = EXCLUDED.at, until = greatest(b.until, EXCLUDED.at) + (EXCLUDED.until - EXCLUDED.at)
)