-- $3 place, $4 formats: remove the pictures that new ones replace.
DELETE FROM public.ad_pictures WHERE job_id = $1 AND tenant_id = $2 AND place = $3 AND format = ANY ($4::text[])
