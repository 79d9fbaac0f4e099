"""What is put into the database: the schema pgbaton (``migrate``), and on the user's table (``attach``)."""
