-- A stage by hand, or in any language: two compare-and-sets. :job is the job_id of the call.
--     psql mine -v job=42 -f stage.sql

-- Begin. No row comes back: answer 409 and do nothing, for the job is elsewhere or another call has begun.
UPDATE documents SET step = 'summarise', status = 'running'
 WHERE id = :job AND step = 'upload' AND status = 'done'
RETURNING id, body;

-- Here the work is done, outside of any transaction.

-- End: the result and `done` in one transaction, and only if the row is still at this stage's running. UPDATE 0: the job
-- has moved on (it was cancelled, or a call after this one was quicker): roll back and answer 409.
BEGIN;
UPDATE documents SET status = 'done', summary = left(body, 20)
 WHERE id = :job AND step = 'summarise' AND status = 'running';
COMMIT;

-- The work failed: the same, with `failed`, and an answer of 500. The engine calls again, as often as `attempts` allows.
-- UPDATE documents SET status = 'failed' WHERE id = :job AND step = 'summarise' AND status = 'running';
