-- $1 milliseconds: statements after this one in the transaction are given up after that time. They are planned for their own
-- values: along an index and no further than it is read, also where the statistics of a table that changes all the time mislead.
SELECT set_config('statement_timeout', $1, true), set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)
