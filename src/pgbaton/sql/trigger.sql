
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
    ELSIF TG_NARGS = 0 THEN
        PERFORM pgbaton.job_changed({pipeline}, {channel}, NEW.{key}::text, {new_tenant}, NEW.{step}::text, NEW.{status}::text, NULL);
    ELSE
        PERFORM pgbaton.job_changed({pipeline}, {channel}, NEW.{key}::text, {new_tenant}, NEW.{step}::text, NEW.{status}::text, NEW.updated_at);
    END IF;
    RETURN NULL;
END
