DELETE FROM public.jobs_variants WHERE job_id = $1 AND tenant_id = $2
