, spent AS (
    -- The rates of the stage and of the tenant are paid for the calls that this claim has made.
    INSERT INTO pgbaton.spent AS b (pipeline, stage, tenant, at, until)
    SELECT $1, g.stage, r.payer, g.at, g.at + make_interval(secs => count(*) / r.rate)
      FROM granted AS g
      JOIN dealt AS d ON d.done AND d.stage = g.stage
                     AND (g.lane IS NULL OR g.lane = pgbaton.lane(d.tenant, d.account) COLLATE "C")
     CROSS JOIN LATERAL (VALUES ('', g.rate), ('=' || coalesce(d.tenant, ''), g.lane_rate)) AS r (payer, rate)
     WHERE g.may > 0 AND num_nonnulls(g.rate, g.lane_rate) > 0 AND r.rate IS NOT NULL
     GROUP BY g.stage, r.payer, r.rate, g.at
        ON CONFLICT (pipeline, stage, tenant) DO UPDATE
       SET at = EXCLUDED.at, until = greatest(b.until, EXCLUDED.at) + (EXCLUDED.until - EXCLUDED.at)
)
