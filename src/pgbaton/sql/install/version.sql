-- The schema's version; 0 where there is no schema.
SELECT coalesce(max(version), 0) FROM pgbaton.migrations
