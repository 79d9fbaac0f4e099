-- $1 job, $2 tenant: the photo that the ad is made of.
SELECT photo AS image, photo_key AS image_key FROM public.ad_inputs WHERE job_id = $1 AND tenant_id = $2
