INSERT INTO public.ad_inputs (job_id, tenant_id, photo, photo_key, copy_fields, formats, variants, review)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
