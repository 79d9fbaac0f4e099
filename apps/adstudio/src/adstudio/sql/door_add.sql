-- $1 job, $2 tenant: a new job, not handed over yet; nothing where it is there already.
INSERT INTO public.jobs (job_id, tenant_id, current_step, status)
VALUES ($1, $2, 'img_gen', 'running') ON CONFLICT (job_id) DO NOTHING
RETURNING true
