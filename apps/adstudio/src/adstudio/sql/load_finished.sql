SELECT o.image, o.image_key, o.setting, d.forbidden, i.copy_ko, i.copy_en, i.copy_fields, a.passed, a.judge, a.reasons
  FROM public.ad_overlays o
  JOIN public.ad_detections d USING (job_id, tenant_id)
  JOIN public.ad_inputs i USING (job_id, tenant_id)
  JOIN public.ad_analyses a USING (job_id, tenant_id)
 WHERE o.job_id = $1 AND o.tenant_id = $2
