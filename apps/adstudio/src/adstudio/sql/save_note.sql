INSERT INTO public.ad_notes (job_id, tenant_id, step, sentence, final, trace)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (job_id) DO UPDATE
   SET step = EXCLUDED.step, sentence = EXCLUDED.sentence, final = EXCLUDED.final, trace = EXCLUDED.trace,
       made_at = now()
