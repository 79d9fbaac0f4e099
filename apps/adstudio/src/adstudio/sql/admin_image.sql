-- $1 job, $2 the finished ad, or (false) the photo it is made of.
SELECT tenant_id, image, image_key FROM public.ad_overlays WHERE $2 AND job_id = $1
UNION ALL
SELECT tenant_id, photo, photo_key FROM public.ad_inputs WHERE NOT $2 AND job_id = $1
