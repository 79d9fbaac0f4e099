CREATE TABLE ads (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    photo    text NOT NULL,
    reviewed boolean NOT NULL DEFAULT true,  -- false: published without a person's approval
    step     text NOT NULL DEFAULT 'new',
    status   text NOT NULL DEFAULT 'done'
);
CREATE TABLE variants (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ad     bigint NOT NULL REFERENCES ads ON DELETE CASCADE,
    step   text NOT NULL DEFAULT 'planned',
    status text NOT NULL DEFAULT 'done'
);
CREATE INDEX ON variants (ad);
