-- $1 job, $2 tenant (null: not asked): everything about an ad but its pictures.
SELECT j.job_id, j.tenant_id, j.current_step, j.status, j.created_at, j.updated_at,
       i.job_id IS NOT NULL AS has_photo, i.copy_ko, i.copy_en, i.copy_fields, i.formats,
       p.refused, v.passed, v.judge, v.reasons, v.checks,
       n.step AS note_step, n.sentence, n.final, n.made_at AS noted_at,
       d.approved, d.reason, d.chosen, d.decided_at
  FROM public.jobs j
  LEFT JOIN public.ad_inputs i USING (job_id, tenant_id)
  LEFT JOIN public.ad_plans p USING (job_id, tenant_id)
  LEFT JOIN public.ad_judgements v USING (job_id, tenant_id)
  LEFT JOIN public.ad_notes n USING (job_id, tenant_id)
  LEFT JOIN LATERAL (
      SELECT approved, reason, chosen, decided_at FROM public.ad_decisions
       WHERE job_id = j.job_id ORDER BY decision_id DESC LIMIT 1) d ON true
 WHERE j.job_id = $1 AND ($2::text IS NULL OR j.tenant_id = $2)
