SELECT o.image, v.passed, v.judge, ARRAY(SELECT jsonb_array_elements_text(v.reasons)) AS reasons
  FROM public.ad_overlays o
  JOIN public.ad_judgements v USING (job_id)
 WHERE o.job_id = $1
