-- $1 job: its inputs are there, so the first stage is due.
UPDATE public.jobs SET status = 'done', updated_at = now() WHERE job_id = $1
