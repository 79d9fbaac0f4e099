-- $1 job, $2 tenant, $3 format, $4 place: one picture.
SELECT image, image_key FROM public.ad_pictures
 WHERE job_id = $1 AND tenant_id = $2 AND format = $3 AND place = $4
UNION ALL
SELECT image, image_key FROM public.ad_overlays
 WHERE job_id = $1 AND tenant_id = $2 AND $3 = 'original' AND $4 = 0
LIMIT 1
