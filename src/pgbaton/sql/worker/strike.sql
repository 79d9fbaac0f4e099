-- $1 pipeline, $2 step, $3 whether its probe found it down: open the stage's circuit for 0.5 s, 1 s ... 15 s. Answers
-- to calls that were out when it opened change nothing.
UPDATE pgbaton.stages
   SET strikes = least(strikes + 1, 20),
       open_until = clock_timestamp()
                    + make_interval(secs => least(15, 0.5 * power(2, least(strikes, 10))) * (0.5 + 0.5 * random()))
 WHERE pipeline = $1 AND step = $2
   AND (open_until IS NULL OR open_until <= clock_timestamp() OR $3)
