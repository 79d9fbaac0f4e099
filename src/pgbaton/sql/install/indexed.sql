-- $1 table, $2 columns: whether a whole index begins with them, in any order.
SELECT EXISTS (
    SELECT FROM pg_index AS i
     WHERE i.indrelid = $1::text::regclass AND i.indisvalid AND i.indpred IS NULL
       AND ARRAY(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, nth)
                   JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                  WHERE k.nth <= cardinality($2::text[])) @> $2::text[])
