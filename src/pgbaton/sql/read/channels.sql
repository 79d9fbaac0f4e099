-- $1 pipeline (null: any): the channels on which changes are published.
SELECT DISTINCT channel FROM pgbaton.pipelines WHERE channel IS NOT NULL AND ($1::text IS NULL OR name = $1)
