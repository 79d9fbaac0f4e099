-- $1 job, $2 tenant, $3 approved, $4 reason, $5 chosen: kept where the ad is finished.
INSERT INTO public.ad_decisions (job_id, tenant_id, approved, reason, chosen)
SELECT job_id, tenant_id, $3, $4, $5 FROM public.jobs
 WHERE job_id = $1 AND tenant_id = $2 AND current_step = 'vlm_judge' AND status = 'done'
RETURNING decided_at
