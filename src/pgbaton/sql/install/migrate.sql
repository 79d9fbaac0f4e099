BEGIN;
SELECT pg_catalog.pg_advisory_xact_lock({lock});
DO $pgbaton$
BEGIN
    IF to_regnamespace('pgbaton') IS NULL THEN
        CREATE SCHEMA pgbaton;
        CREATE TABLE pgbaton.migrations (
            version    integer PRIMARY KEY,
            name       text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        );
    END IF;
END
$pgbaton$;
{migrations}DO $pgbaton$
BEGIN
    -- Functions and views are code: they are replaced where they differ. The schema's comment says which are installed.
    IF obj_description('pgbaton'::regnamespace, 'pg_namespace') IS DISTINCT FROM 'pgbaton protocol {protocol_md5}' THEN
        EXECUTE $protocol$
{protocol}
        $protocol$;
        COMMENT ON SCHEMA pgbaton IS 'pgbaton protocol {protocol_md5}';
    END IF;
END
$pgbaton$;
COMMIT;
