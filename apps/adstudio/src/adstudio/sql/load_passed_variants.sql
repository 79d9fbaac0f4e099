-- The numbers of the variants that the judge let pass.
SELECT number FROM public.jobs_variants
 WHERE job_id = $1 AND tenant_id = $2 AND (current_step, status) = ('vlm_judge', 'done')
 ORDER BY number
