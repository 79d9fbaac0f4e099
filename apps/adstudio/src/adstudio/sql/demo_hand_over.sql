UPDATE public.jobs SET status = 'done', updated_at = now() WHERE job_id = $1
