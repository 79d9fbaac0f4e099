INSERT INTO public.ad_plans (job_id, tenant_id, proposals, refused)
VALUES ($1, $2, $3, $4)
ON CONFLICT (job_id) DO UPDATE SET proposals = EXCLUDED.proposals, refused = EXCLUDED.refused, made_at = now()
