(SELECT r.step FROM pgbaton.stages AS r
        WHERE r.pipeline = $1 AND r.routed AND r.after = {step} AND r.status = {status}
          AND (r.condition IS NULL OR r.step = ANY (ARRAY[{fit}]::text[]))
        ORDER BY r.position LIMIT 1)
