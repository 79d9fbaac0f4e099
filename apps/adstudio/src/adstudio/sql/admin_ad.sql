-- $1 job: the parts of the ad that its page shows.
SELECT coalesce(i.copy_fields ->> 'headline', nullif(trim(i.copy_ko), ''), i.copy_en) AS copy, o.job_id IS NOT NULL AS finished,
       v.passed, v.judge, ARRAY(SELECT jsonb_array_elements_text(v.reasons)) AS reasons
  FROM public.ad_inputs i
  LEFT JOIN public.ad_overlays o USING (job_id)
  LEFT JOIN public.ad_judgements v USING (job_id)
 WHERE i.job_id = $1
