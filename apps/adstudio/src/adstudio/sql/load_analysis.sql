SELECT passed, judge, reasons FROM public.ad_analyses WHERE job_id = $1 AND tenant_id = $2
