-- Of these keys, the ones that no row names. One statement, one snapshot: a row that is written again within a
-- transaction is seen before or after, never between.
SELECT key
  FROM unnest($1::text[]) AS key
 WHERE NOT EXISTS (SELECT FROM public.ad_inputs i WHERE i.photo_key OPERATOR(pg_catalog.=) key)
   AND NOT EXISTS (SELECT FROM public.ad_pictures p WHERE p.image_key OPERATOR(pg_catalog.=) key)
   AND NOT EXISTS (SELECT FROM public.ad_overlays o WHERE o.image_key OPERATOR(pg_catalog.=) key)
