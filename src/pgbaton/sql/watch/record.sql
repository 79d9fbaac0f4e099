-- $1 pipeline, $2 codes, $3 subjects, $4 findings as JSON, $5 seconds that a finding must have been untrue before it ends. Write
-- down the findings of now. A finding that is open already is seen again; one that is not found ends once it has been untrue
-- for so long. Where two workers record at once, the index lets one row of each finding be open.
WITH found AS MATERIALIZED (
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[]) AS f (code, subject, finding)
), written AS (
    INSERT INTO pgbaton.findings AS o (pipeline, code, subject, finding, tell_at)
    SELECT $1, f.code, f.subject, f.finding::jsonb, clock_timestamp() FROM found AS f
    ON CONFLICT (pipeline, code, subject) WHERE ended_at IS NULL
    DO UPDATE SET seen_at = clock_timestamp(), finding = EXCLUDED.finding
    RETURNING o.id
), ended AS (
    UPDATE pgbaton.findings AS o SET ended_at = clock_timestamp(), tell_at = clock_timestamp(), tries = 0
     WHERE o.pipeline = $1 AND o.ended_at IS NULL AND o.seen_at < clock_timestamp() - make_interval(secs => $5)
       AND NOT EXISTS (SELECT FROM found AS f WHERE f.code = o.code AND f.subject = o.subject)
    RETURNING o.id
)
SELECT (SELECT count(*) FROM written) AS seen, (SELECT count(*) FROM ended) AS ended
