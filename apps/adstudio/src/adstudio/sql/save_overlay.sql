INSERT INTO public.ad_overlays (job_id, tenant_id, image, image_key, setting)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (job_id) DO UPDATE
   SET image = EXCLUDED.image, image_key = EXCLUDED.image_key, setting = EXCLUDED.setting, made_at = now()
