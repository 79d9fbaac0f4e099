SELECT proposals FROM public.ad_plans WHERE job_id = $1 AND tenant_id = $2
