-- $1 tenant, $2 how many: its newest ads.
SELECT j.job_id, j.tenant_id, j.current_step, j.status, j.created_at, j.updated_at,
       i.copy_ko, i.copy_en, i.copy_fields, v.passed, n.step AS note_step, n.final, n.made_at AS noted_at,
       (SELECT approved FROM public.ad_decisions d WHERE d.job_id = j.job_id ORDER BY decision_id DESC LIMIT 1) AS approved
  FROM public.jobs j
  LEFT JOIN public.ad_inputs i USING (job_id, tenant_id)
  LEFT JOIN public.ad_judgements v USING (job_id, tenant_id)
  LEFT JOIN public.ad_notes n USING (job_id, tenant_id)
 WHERE j.tenant_id = $1
 ORDER BY j.created_at DESC, j.job_id
 LIMIT $2
