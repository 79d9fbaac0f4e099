-- Approval by a person. The stage `review` only begins (`running`) and answers 202; its timeout = 604800 (a week) in
-- pgbaton.toml. A person decides, and the compare-and-set makes it once:
UPDATE documents SET status = 'done'
 WHERE id = :job AND step = 'review' AND status = 'running';
-- Rejected for good:  … SET status = 'failed' …
