-- $1 job: all texts of its copy, in no order.
SELECT concat_ws(' ', copy_ko, copy_en, (SELECT string_agg(value, ' ') FROM jsonb_each_text(copy_fields)))
  FROM public.ad_inputs WHERE job_id = $1
