-- $1 pipeline: the columns of its key.
SELECT key_columns FROM pgbaton.pipelines WHERE name = $1
