"""The engine's part of the database: the schema pgbaton (``migrate``), and on the user's table (``attach``)."""
