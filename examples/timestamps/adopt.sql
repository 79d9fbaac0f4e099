-- Words beside the timestamps: pgbaton writes and reads step and status, the application goes on with its own columns, and this
-- trigger keeps both the same. Where an UPDATE changes the words the timestamps follow them, else the words follow the timestamps.
ALTER TABLE exports ADD step text, ADD status text;

CREATE FUNCTION exports_words() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    words_written constant boolean := TG_OP = 'UPDATE' AND (NEW.step, NEW.status) IS DISTINCT FROM (OLD.step, OLD.status);
BEGIN
    IF words_written AND NEW.step IN ('request', 'render') THEN  -- by pgbaton, or by a stage that knows them
        NEW.started_at  := CASE WHEN NEW.step = 'render' THEN coalesce(NEW.started_at, now()) END;
        NEW.finished_at := CASE WHEN NEW.step = 'render' AND NEW.status = 'done' THEN coalesce(NEW.finished_at, now()) END;
        NEW.failed_at   := CASE WHEN NEW.step = 'render' AND NEW.status = 'failed' THEN coalesce(NEW.failed_at, now()) END;
    ELSIF TG_OP = 'INSERT' OR NOT words_written
          AND (NEW.started_at, NEW.finished_at, NEW.failed_at) IS DISTINCT FROM (OLD.started_at, OLD.finished_at, OLD.failed_at)
    THEN
        NEW.step   := CASE WHEN num_nonnulls(NEW.started_at, NEW.finished_at, NEW.failed_at) = 0 THEN 'request' ELSE 'render' END;
        NEW.status := CASE WHEN NEW.finished_at IS NOT NULL THEN 'done' WHEN NEW.failed_at IS NOT NULL THEN 'failed'
                           WHEN NEW.started_at IS NOT NULL THEN 'running' ELSE 'done' END;
    END IF;
    NEW.is_ready := NEW.finished_at IS NOT NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER exports_words BEFORE INSERT OR UPDATE ON exports FOR EACH ROW EXECUTE FUNCTION exports_words();

-- The rows that are there already; a large table in pages.
UPDATE exports SET
    step   = CASE WHEN num_nonnulls(started_at, finished_at, failed_at) = 0 THEN 'request' ELSE 'render' END,
    status = CASE WHEN finished_at IS NOT NULL THEN 'done' WHEN failed_at IS NOT NULL THEN 'failed'
                  WHEN started_at IS NOT NULL THEN 'running' ELSE 'done' END;
