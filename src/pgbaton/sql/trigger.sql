
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pgbaton.jobs_truncated({pipeline});
        RETURN NULL;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM pgbaton.jobs_gone({pipeline}, ARRAY[OLD.{key}::text]);
        RETURN NULL;
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW.{key} IS DISTINCT FROM OLD.{key} THEN
            PERFORM pgbaton.jobs_gone({pipeline}, ARRAY[OLD.{key}::text]);
        ELSIF NEW.{step} IS NOT DISTINCT FROM OLD.{step} AND NEW.{status} IS NOT DISTINCT FROM OLD.{status} THEN
            RETURN NULL;
        END IF;
    END IF;
    IF NEW.{key} IS NULL THEN
        RETURN NULL;
    ELSIF pg_column_size(NEW.{key}) > 2640 THEN
        -- An index on it alone holds a little more than ours, which may not make this transaction fail.
        RAISE WARNING 'pgbaton leaves a job alone whose key is too long for an index: %', left(NEW.{key}::text, 60);
        RETURN NULL;
    ELSIF TG_NARGS = 0 THEN
        PERFORM pgbaton.job_changed({pipeline}, {channel}, NEW.{key}::text, {new_tenant}, NEW.{step}::text, NEW.{status}::text, NULL);
    ELSE
        PERFORM pgbaton.job_changed({pipeline}, {channel}, NEW.{key}::text, {new_tenant}, NEW.{step}::text, NEW.{status}::text, NEW.updated_at);
    END IF;
    RETURN NULL;
END
