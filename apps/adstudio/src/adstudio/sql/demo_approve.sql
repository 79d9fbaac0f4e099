-- $1 job: what a person's click comes to; it can be any UPDATE.
UPDATE public.jobs SET status = 'approved', updated_at = now()
 WHERE job_id = $1 AND (current_step, status) = ('review', 'waiting')
