-- As list_jobs: how many, up to $12.
SELECT least(count(*), $12) FROM (
    SELECT FROM ({due}) AS due
    UNION ALL
    SELECT FROM ({calls}) AS calls
    UNION ALL
    SELECT FROM ({ended}) AS ended) AS matching
