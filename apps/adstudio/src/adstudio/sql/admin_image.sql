-- $1 job, $2 the finished ad, or (false) the photo it is made of.
SELECT CASE WHEN $2 THEN (SELECT image FROM public.ad_overlays WHERE job_id = $1)
            ELSE (SELECT photo FROM public.ad_inputs WHERE job_id = $1) END
