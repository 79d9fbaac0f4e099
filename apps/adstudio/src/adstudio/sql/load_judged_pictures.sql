SELECT format, place, image, image_key, layout, passed, reasons, checks
  FROM public.ad_pictures
 WHERE job_id = $1 AND tenant_id = $2
 ORDER BY ordinal
