SELECT photo, photo_key, copy_ko, copy_en, copy_fields FROM public.ad_inputs WHERE job_id = $1 AND tenant_id = $2
