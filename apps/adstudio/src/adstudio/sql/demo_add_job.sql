INSERT INTO public.jobs (job_id, tenant_id, current_step, status) VALUES ($1, $2, 'img_gen', 'running')
