-- The triggers of a pipeline: as attach makes them, whether there is one of that name, and whether it is the same.
            SELECT w.name, w.definition,
                   EXISTS (SELECT FROM pg_trigger AS g
                            WHERE g.tgrelid = {table_literal}::regclass AND g.tgname = w.name) AS there,
                   EXISTS (SELECT FROM pg_trigger AS g
                            WHERE g.tgrelid = {table_literal}::regclass AND g.tgname = w.name
                              AND g.tgfoid = to_regprocedure({function_literal})
                              AND g.tgtype = w.type AND g.tgenabled IN ('O', 'A') AND g.tgattr = ''
                              AND g.tgqual IS NULL
                              AND obj_description(g.oid, 'pg_trigger') = 'pgbaton ' || md5(w.definition)) AS same
              FROM (SELECT v.name, v.type, format('%s(%s)', v.definition, coalesce((
                           -- updated_at is published where the column exists; its name is handed to the trigger.
                           SELECT quote_literal(a.attname) FROM pg_attribute AS a
                            WHERE a.attrelid = {table_literal}::regclass AND a.attname = 'updated_at'
                              AND NOT a.attisdropped
                              AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)), '')) AS definition
                      FROM (VALUES
                            ({on_update}, 17, $ddl{tag}$AFTER UPDATE ON {table} FOR EACH ROW
                EXECUTE FUNCTION {function}$ddl{tag}$),
                            ({on_insert}, 5, $ddl{tag}$AFTER INSERT ON {table} FOR EACH ROW
                EXECUTE FUNCTION {function}$ddl{tag}$)) AS v (name, type, definition)) AS w
