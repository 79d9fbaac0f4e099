-- As list_jobs: how many of up to $12 are where, by stage and state (kind 1), by tenant (kind 6), and in all (kind 7).
SELECT grouping(stage, state, tenant) AS kind, stage, state, tenant, count(*) AS count
  FROM (SELECT stage, state, tenant FROM (
        SELECT due.stage, due.state, due.tenant FROM ({due}) AS due
        UNION ALL
        SELECT calls.stage, calls.state, calls.tenant FROM ({calls}) AS calls
        UNION ALL
        SELECT ended.stage, ended.state, ended.tenant FROM ({ended}) AS ended) AS matching
         LIMIT $12) AS found
 GROUP BY GROUPING SETS ((stage, state), (tenant), ())
 ORDER BY kind, count(*) DESC, stage, state, tenant
