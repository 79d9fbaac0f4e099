-- copy_ko, copy_en: the copy as it came, where it was one string; copy_fields is how it was read.
INSERT INTO public.ad_inputs (job_id, tenant_id, photo, photo_key, copy_fields, formats, variants, review, copy_ko, copy_en)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
