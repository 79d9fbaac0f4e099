-- $1 variant, $2 the step that works on it, $3 and $4 the state before.
UPDATE public.jobs_variants SET current_step = $3, status = $4, updated_at = now()
 WHERE variant_id = $1::text::uuid AND current_step = $2 AND status = 'running'
