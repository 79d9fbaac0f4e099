-- What a claim that was admitted does besides: it pays for the calls that it has made, and tells what is kept back.
, spent AS (
    INSERT INTO pgbaton.spent AS b (pipeline, stage, tenant, at, until)
    SELECT $1, p.stage, p.payer, p.at, p.at + make_interval(secs => count(*) / p.rate)
      FROM {claimed} AS d
     CROSS JOIN LATERAL (
            SELECT a.stage, '' AS payer, a.rate, a.at FROM admitted AS a
             WHERE a.stage = d.stage AND a.may > 0 AND a.lane IS NOT DISTINCT FROM CASE WHEN a.lane IS NOT NULL THEN coalesce(d.tenant, '') END
               AND a.rate IS NOT NULL
            UNION ALL
            SELECT a.stage, '=' || a.lane, a.lane_rate, a.at FROM admitted AS a
             WHERE a.stage = d.stage AND a.may > 0 AND a.lane = coalesce(d.tenant, '') AND a.lane_rate IS NOT NULL) AS p
     GROUP BY p.stage, p.payer, p.rate, p.at
        ON CONFLICT (pipeline, stage, tenant) DO UPDATE
       SET at = EXCLUDED.at, until = greatest(b.until, EXCLUDED.at) + (EXCLUDED.until - EXCLUDED.at)
)
