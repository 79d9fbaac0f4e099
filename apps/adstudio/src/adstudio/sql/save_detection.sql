INSERT INTO public.ad_detections (job_id, tenant_id, width, height, found, forbidden)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (job_id) DO UPDATE
   SET width = EXCLUDED.width, height = EXCLUDED.height, found = EXCLUDED.found, forbidden = EXCLUDED.forbidden,
       made_at = now()
