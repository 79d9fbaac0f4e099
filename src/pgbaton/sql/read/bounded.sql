-- $1 milliseconds: what follows in this transaction is given up after that time, and planned for its own values: along
-- an index and no further than it is read, whatever the statistics of a table that changes all the time say.
SELECT set_config('statement_timeout', $1, true), set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)
