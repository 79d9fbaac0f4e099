-- $1 tenant: its brand kit.
SELECT name, colour, accent, logo, font FROM public.ad_brands WHERE tenant_id = $1
