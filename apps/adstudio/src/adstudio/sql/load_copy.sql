-- $1 job: everything that its copy says, in no order.
SELECT concat_ws(' ', copy_ko, copy_en, copy_fields::text) FROM public.ad_inputs WHERE job_id = $1
