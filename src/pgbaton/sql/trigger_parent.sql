    -- A child has come to an end: its parent may have waited for it. No sibling is read, and no row of the parent's: a worker
    -- counts the children after this commit.
    IF status OPERATOR(pg_catalog.<>) 'running' AND NULLIF(next_stage, '') IS NULL
       AND pg_catalog.octet_length(parent) OPERATOR(pg_catalog.<=) 2640
    THEN
        INSERT INTO pgbaton.due (pipeline, stage, job_key, status)
        VALUES ({parent_pipeline}, '', parent, status);
{wake}    END IF;
