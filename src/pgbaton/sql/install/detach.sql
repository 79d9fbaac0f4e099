BEGIN;
SET LOCAL lock_timeout = '{lock_timeout}';
SET LOCAL search_path = pg_catalog, pg_temp;
{lock};
-- First the table's lock, so that no turn is under way that holds a stage and waits for the table; then the stages.
-- The table and the triggers are those that attach wrote down, also where the table has another name by now.
DO $pgbaton{tag}$
DECLARE
    job_table oid := to_regclass({table_literal});
    names text[] := {triggers};
    functions oid[] := ARRAY[to_regprocedure({function_literal})];
    ours constant text := '%INSERT INTO pgbaton.due%';
    f oid;
    t record;
BEGIN
    SELECT p.job_table, p.triggers INTO t FROM pgbaton.pipelines AS p WHERE p.name = {pipeline};
    IF FOUND THEN
        job_table := t.job_table; names := t.triggers;
    END IF;
    IF EXISTS (SELECT FROM pg_class AS c WHERE c.oid = job_table) THEN
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', job_table::regclass);
        FOR t IN SELECT g.tgname, g.tgfoid FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid
                  WHERE g.tgrelid = job_table AND g.tgname = ANY (names) AND p.prosrc LIKE ours
        LOOP
            EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, job_table::regclass);
            functions := functions || t.tgfoid;
        END LOOP;
    END IF;
    FOR f IN SELECT DISTINCT p.oid FROM pg_proc AS p
              WHERE p.oid = ANY (functions) AND p.prosrc LIKE ours
                AND NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgfoid = p.oid)
    LOOP
        EXECUTE format('DROP FUNCTION %s', f::regprocedure);
    END LOOP;
END
$pgbaton{tag}$;
-- No worker claims from now on.
UPDATE pgbaton.stages SET routed = false WHERE pipeline = {pipeline} AND routed;
COMMIT;
