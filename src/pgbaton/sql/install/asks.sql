-- Whether a condition can be asked of rows: of none.
SELECT {condition} FROM {table} AS new LIMIT 0
