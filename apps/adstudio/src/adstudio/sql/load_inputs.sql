SELECT i.photo, i.photo_key, i.copy_ko, i.copy_en, i.copy_fields, i.formats, i.variants, i.review, b.name, b.colour, b.accent, b.logo, b.font
  FROM public.ad_inputs i
  LEFT JOIN public.ad_brands b USING (tenant_id)
 WHERE i.job_id = $1 AND i.tenant_id = $2
