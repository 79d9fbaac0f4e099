-- $3 how many: each begins by itself, once this commits.
INSERT INTO public.jobs_variants (job_id, tenant_id, number) SELECT $1, $2, n FROM generate_series(1, $3::integer) AS n
