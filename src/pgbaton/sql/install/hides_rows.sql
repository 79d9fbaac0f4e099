-- $1 table: whether a policy may hide rows of it from this role.
SELECT row_security_active($1::text::regclass)
