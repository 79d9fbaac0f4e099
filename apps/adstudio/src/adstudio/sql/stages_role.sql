-- The stages' own role: it works on jobs and results, and has no right on the engine's schema.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'adstudio') THEN
        CREATE ROLE adstudio NOSUPERUSER NOCREATEDB NOCREATEROLE;
    END IF;
END
$$;
GRANT USAGE ON SCHEMA public TO adstudio;
GRANT SELECT, INSERT, UPDATE ON
    public.jobs, public.ad_inputs, public.ad_analyses, public.ad_detections, public.ad_plans, public.ad_overlays,
    public.ad_judgements, public.jobs_variants, public.ad_pictures, public.ad_notes, public.ad_decisions, public.ad_brands TO adstudio;
GRANT DELETE ON public.ad_pictures, public.jobs_variants TO adstudio;
