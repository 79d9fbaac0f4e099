-- $1 job: the UPDATE of a person's click; any other of the same row would do.
UPDATE public.jobs SET status = 'approved', updated_at = now()
 WHERE job_id = $1 AND (current_step, status) = ('review', 'waiting')
