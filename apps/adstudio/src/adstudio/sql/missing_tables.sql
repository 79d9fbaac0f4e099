-- $1 names: those that the schema public has no table of.
SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(format('public.%I', name)) IS NULL
