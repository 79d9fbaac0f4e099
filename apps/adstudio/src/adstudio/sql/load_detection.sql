SELECT width, height, found, forbidden FROM public.ad_detections WHERE job_id = $1 AND tenant_id = $2
