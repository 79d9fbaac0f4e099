-- $1 job: the picture chosen for each format.
SELECT format, image, layout, checks
  FROM public.ad_pictures
 WHERE job_id = $1 AND place = 0 AND image IS NOT NULL
 ORDER BY ordinal
