-- $1 job: its pictures without their bytes, by format, the chosen one first. A job of before there were formats has one.
SELECT format, place, master, passed, reasons, checks FROM public.ad_pictures WHERE job_id = $1
UNION ALL
SELECT 'original', 0, 'original', NULL, NULL, NULL FROM public.ad_overlays
 WHERE job_id = $1 AND NOT EXISTS (SELECT FROM public.ad_pictures WHERE job_id = $1)
 ORDER BY format, place
