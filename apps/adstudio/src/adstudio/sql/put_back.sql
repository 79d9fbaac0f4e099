-- $1 job, $2 the step that works on it, $3 the step before.
UPDATE public.jobs SET current_step = $3, status = 'done', updated_at = now()
 WHERE job_id = $1 AND current_step = $2 AND status = 'running'
