BEGIN;
SET LOCAL lock_timeout = '{lock_timeout}';
SET LOCAL search_path = pg_catalog, pg_temp;
{lock};
-- First the table's lock, so that no turn is under way that holds a stage and waits for the table; then the stages.
DO $pgbaton{tag}$
BEGIN
    IF to_regclass({table_literal}) IS NOT NULL THEN
        LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;
        DROP TRIGGER IF EXISTS {update_trigger} ON {table};
        DROP TRIGGER IF EXISTS {insert_trigger} ON {table};
    END IF;
END
$pgbaton{tag}$;
DROP FUNCTION IF EXISTS {function}();
-- No worker claims from now on.
UPDATE pgbaton.stages SET routed = false WHERE pipeline = {pipeline} AND routed;
COMMIT;
