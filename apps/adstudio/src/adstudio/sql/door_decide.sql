-- $1 job, $2 tenant, $3 approved, $4 reason, $5 chosen: kept where the ad is finished; one that waits for this goes on by it, and
-- of two decisions at once one does.
WITH reviewed AS (
    UPDATE public.jobs SET status = CASE WHEN $3::boolean THEN 'approved' ELSE 'rejected' END, updated_at = now()
     WHERE job_id = $1 AND tenant_id = $2 AND (current_step, status) = ('review', 'waiting')
    RETURNING job_id, tenant_id
)
INSERT INTO public.ad_decisions (job_id, tenant_id, approved, reason, chosen)
SELECT job_id, tenant_id, $3::boolean, $4::text, $5::jsonb FROM reviewed
 UNION ALL
SELECT job_id, tenant_id, $3::boolean, $4::text, $5::jsonb FROM public.jobs
 WHERE job_id = $1 AND tenant_id = $2 AND (current_step, status) = ('vlm_judge', 'done')
RETURNING decided_at
