SELECT passed, judge, ARRAY(SELECT jsonb_array_elements_text(reasons)) AS reasons
  FROM public.ad_judgements
 WHERE job_id = $1
