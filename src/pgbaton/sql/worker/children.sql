-- $1 pipeline of the children, $2 their parents' keys, $3 and $4 the state in which one is done: for each parent how many there
-- are, have ended and are done, and one that has not ended. One has ended where nothing leads on and no stage works; at failed,
-- if it is not to be called again. One statement for all parents of a round: where each had its own, families had 0.7 of the
-- rate of plain rows.
SELECT p.key AS parent, c.*
  FROM unnest($2::text[]) AS p (key)
 CROSS JOIN LATERAL (
        SELECT count(*)::integer AS total, (count(*) FILTER (WHERE k.is_done OR k.ended))::integer AS ended,
               (count(*) FILTER (WHERE k.is_done))::integer AS done,
               min(k.key) FILTER (WHERE NOT k.is_done AND NOT k.ended) AS example
          FROM (SELECT {job_key} AS key, ({step_text} = $3 AND {status_text} = $4) IS TRUE AS is_done,
                       ({leads_on} IS NULL AND {status_text} <> 'running'
                        AND ({status_text} <> 'failed'
                             OR NOT EXISTS (SELECT FROM pgbaton.calls AS o
                                             WHERE o.pipeline = $1 AND o.job_key = {job_key} OFFSET 0))) IS TRUE AS ended
                  FROM {table} AS j WHERE {parent_is(p.key)}) AS k) AS c
