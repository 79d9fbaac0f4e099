INSERT INTO public.ad_inputs (job_id, tenant_id, photo, copy_ko, copy_en) VALUES ($1, $2, $3, $4, $5)
