-- $1 variant, $2 layouts to draw: one more round of it.
UPDATE public.jobs_variants SET layouts = $2, round = round + 1 WHERE variant_id = $1
