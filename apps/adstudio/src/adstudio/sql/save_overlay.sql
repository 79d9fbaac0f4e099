INSERT INTO public.ad_overlays (job_id, tenant_id, image, setting)
VALUES ($1, $2, $3, $4)
ON CONFLICT (job_id) DO UPDATE SET image = EXCLUDED.image, setting = EXCLUDED.setting, made_at = now()
