INSERT INTO public.ad_pictures
       (job_id, tenant_id, format, place, master, image, image_key, layout, passed, reasons, checks)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
