-- A CHECK of one column, asked of one value, $1: false where it refuses it. {condition} is the catalogue's text.
SELECT {condition} FROM (SELECT $1::text::{type} AS {column}) AS row
