-- $1 pipeline, $2 the key to go on behind, $3 how many to look at: rows of the past that have moved are not left alone any more.
-- An entry that a walk writes meanwhile (`pgbaton attach`) is another row by its ctid, and stays.
WITH page AS MATERIALIZED (
    SELECT p.ctid AS tid, p.job_key, p.step, p.status FROM pgbaton.past AS p
     WHERE p.pipeline = $1 AND p.job_key > $2
       AND NOT EXISTS (SELECT FROM pgbaton.adoptions AS a WHERE a.pipeline = $1 AND a.ended_at IS NULL)
     ORDER BY p.job_key
     LIMIT $3
), moved AS (
    DELETE FROM pgbaton.past AS p
     USING page AS g
     WHERE p.ctid = g.tid
       AND NOT EXISTS (SELECT FROM {table} AS j
                        WHERE {job_is(g.job_key)} AND {step_text} = g.step AND {status_text} = g.status OFFSET 0)
)
SELECT max(job_key) AS last, count(*) AS looked_at FROM page
