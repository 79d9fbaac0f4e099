INSERT INTO public.ad_plans (job_id, tenant_id, proposals)
VALUES ($1, $2, $3)
ON CONFLICT (job_id) DO UPDATE SET proposals = EXCLUDED.proposals, made_at = now()
