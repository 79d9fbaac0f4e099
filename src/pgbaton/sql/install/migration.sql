DO $pgbaton$
BEGIN
    IF NOT EXISTS (SELECT FROM pgbaton.migrations WHERE version = {version}) THEN
        EXECUTE $migration$
{sql}
        $migration$;
        INSERT INTO pgbaton.migrations (version, name) VALUES ({version}, '{name}');
    END IF;
END
$pgbaton$;
