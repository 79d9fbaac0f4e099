-- $1 pipeline: where its census is; it begins now where there was none.
WITH begun AS (
    INSERT INTO pgbaton.census (pipeline) SELECT p.name FROM pgbaton.pipelines AS p WHERE p.name = $1
    ON CONFLICT (pipeline) DO NOTHING
    RETURNING *
)
SELECT c.began_at, c.next_key, c.so_far::text AS so_far, c.seen FROM begun AS c
UNION ALL
SELECT c.began_at, c.next_key, c.so_far::text, c.seen FROM pgbaton.census AS c WHERE c.pipeline = $1
