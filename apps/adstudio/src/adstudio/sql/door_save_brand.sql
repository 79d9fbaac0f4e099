INSERT INTO public.ad_brands (tenant_id, name, colour, accent, logo, font)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id) DO UPDATE
   SET name = EXCLUDED.name, colour = EXCLUDED.colour, accent = EXCLUDED.accent, logo = EXCLUDED.logo,
       font = EXCLUDED.font, updated_at = now()
