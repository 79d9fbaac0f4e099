INSERT INTO public.ad_analyses (job_id, tenant_id, passed, judge, reasons, checks, trace)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (job_id) DO UPDATE
   SET passed = EXCLUDED.passed, judge = EXCLUDED.judge, reasons = EXCLUDED.reasons, checks = EXCLUDED.checks,
       trace = EXCLUDED.trace, made_at = now()
