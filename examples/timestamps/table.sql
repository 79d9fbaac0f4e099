-- A table that says with timestamps and a boolean how far a row is, and an application that knows nothing else.
CREATE TABLE exports (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at  timestamptz,
    finished_at timestamptz,
    failed_at   timestamptz,
    is_ready    boolean NOT NULL DEFAULT false
);
