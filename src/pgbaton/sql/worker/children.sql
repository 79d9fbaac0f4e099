-- $1 pipeline of the children, $2 their parent's key, $3 and $4 the state in which one is done: how many there are, have ended
-- and are done, and one that has not ended. One has ended where nothing leads on and no stage works; at failed, if it is not to
-- be called again.
SELECT count(*)::integer AS total, (count(*) FILTER (WHERE k.is_done OR k.ended))::integer AS ended,
       (count(*) FILTER (WHERE k.is_done))::integer AS done, min(k.key) FILTER (WHERE NOT k.is_done AND NOT k.ended) AS example
  FROM (SELECT {job_key} AS key, ({step_text} = $3 AND {status_text} = $4) IS TRUE AS is_done,
               ({leads_on} IS NULL AND {status_text} <> 'running'
                AND ({status_text} <> 'failed'
                     OR NOT EXISTS (SELECT FROM pgbaton.calls AS c
                                     WHERE c.pipeline = $1 AND c.job_key = {job_key} OFFSET 0))) IS TRUE AS ended
          FROM {table} AS j WHERE {parent_is($2::text)}) AS k
