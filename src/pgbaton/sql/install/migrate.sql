BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;  -- no name is looked up where other roles may create things
DO $pgbaton$
BEGIN
    IF to_regnamespace('pgbaton') IS NULL THEN
        CREATE SCHEMA pgbaton;
    ELSIF NOT (SELECT pg_has_role(n.nspowner, 'USAGE') FROM pg_namespace AS n WHERE n.nspname = 'pgbaton') THEN
        RAISE EXCEPTION 'the schema pgbaton belongs to another role' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF to_regclass('pgbaton.migrations') IS NULL THEN  -- an administrator may have made the schema before, with its rights
        CREATE TABLE pgbaton.migrations (
            version    integer PRIMARY KEY,
            name       text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        );
    END IF;
EXCEPTION WHEN unique_violation OR duplicate_schema THEN
    NULL;  -- another migrate, for which this one has waited, has made it
END
$pgbaton$;
{lock};
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
