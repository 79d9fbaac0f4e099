SET ROLE app;
-- adstudio's own tables: jobs, their inputs, and the results of each stage.
-- Safe to run again. pgbaton adds nothing to these tables but a trigger on jobs (02_job_state_notify_trigger.sql).
BEGIN;

CREATE TABLE IF NOT EXISTS jobs (
    job_id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id    varchar(255) NOT NULL,
    current_step varchar(64) NOT NULL DEFAULT 'img_gen',
    status       varchar(32) NOT NULL DEFAULT 'running',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (job_id, tenant_id)
);
CREATE INDEX IF NOT EXISTS jobs_by_tenant ON jobs (tenant_id, created_at DESC);

-- The inputs of an ad. A Korean copy goes before an English one.
CREATE TABLE IF NOT EXISTS ad_inputs (
    job_id    uuid PRIMARY KEY,
    tenant_id varchar(255) NOT NULL,
    photo     bytea NOT NULL,
    copy_ko   text,
    copy_en   text,
    FOREIGN KEY (job_id, tenant_id) REFERENCES jobs (job_id, tenant_id) ON DELETE CASCADE
);

-- vlm_analyze: is the photo fit to publish, and does it fit the copy?
CREATE TABLE IF NOT EXISTS ad_analyses (
    job_id    uuid PRIMARY KEY,
    tenant_id varchar(255) NOT NULL,
    passed    boolean NOT NULL,
    judge     text NOT NULL,
    reasons   jsonb NOT NULL,
    checks    jsonb NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (job_id, tenant_id) REFERENCES jobs (job_id, tenant_id) ON DELETE CASCADE
);

-- yolo_detect: the parts that must not be covered: forbidden is an 8-bit PNG of the photo in small, from 0 (free) to 255 (a face).
-- found are things and faces, in pixels of the photo's working size.
CREATE TABLE IF NOT EXISTS ad_detections (
    job_id    uuid PRIMARY KEY,
    tenant_id varchar(255) NOT NULL,
    width     integer NOT NULL,
    height    integer NOT NULL,
    found     jsonb NOT NULL,
    forbidden bytea NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (job_id, tenant_id) REFERENCES jobs (job_id, tenant_id) ON DELETE CASCADE
);

-- planner: the layouts (pixels of the ad), those of each format together and best first; refused says by format why
-- one cannot be.
CREATE TABLE IF NOT EXISTS ad_plans (
    job_id    uuid PRIMARY KEY,
    tenant_id varchar(255) NOT NULL,
    proposals jsonb NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (job_id, tenant_id) REFERENCES jobs (job_id, tenant_id) ON DELETE CASCADE
);

-- overlay: the finished ad (JPEG) of the first format, and its layout.
CREATE TABLE IF NOT EXISTS ad_overlays (
    job_id    uuid PRIMARY KEY,
    tenant_id varchar(255) NOT NULL,
    image     bytea NOT NULL,
    setting   jsonb NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (job_id, tenant_id) REFERENCES jobs (job_id, tenant_id) ON DELETE CASCADE
);

-- vlm_judge: the verdict on the ad.
CREATE TABLE IF NOT EXISTS ad_judgements (
    job_id    uuid PRIMARY KEY,
    tenant_id varchar(255) NOT NULL,
    passed    boolean NOT NULL,
    judge     text NOT NULL,
    reasons   jsonb NOT NULL,
    checks    jsonb NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (job_id, tenant_id) REFERENCES jobs (job_id, tenant_id) ON DELETE CASCADE
);

-- overlay: the pictures of each format. place 0 is the one that was chosen, 1 and on are the other candidates.
-- vlm_judge fills in the verdict.
CREATE TABLE IF NOT EXISTS ad_pictures (
    job_id    uuid NOT NULL,
    tenant_id varchar(255) NOT NULL,
    format    text NOT NULL,
    place     integer NOT NULL,
    master    text NOT NULL,
    image     bytea,
    image_key text,
    layout    jsonb NOT NULL,
    passed    boolean,
    reasons   jsonb,
    checks    jsonb,
    made_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, format, place),
    FOREIGN KEY (job_id, tenant_id) REFERENCES jobs (job_id, tenant_id) ON DELETE CASCADE
);

-- A tenant's brand kit: colours as #rrggbb, a logo (PNG), a font (OTF, TTF); each may be missing.
CREATE TABLE IF NOT EXISTS ad_brands (
    tenant_id  varchar(255) PRIMARY KEY,
    name       text,
    colour     text,
    accent     text,
    logo       bytea,
    font       bytea,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- A stage that could not work on a job says why, in the job's language. final: a person has to act.
CREATE TABLE IF NOT EXISTS ad_notes (
    job_id    uuid PRIMARY KEY,
    tenant_id varchar(255) NOT NULL,
    step      varchar(64) NOT NULL,
    sentence  text NOT NULL,
    final     boolean NOT NULL,
    trace     jsonb,
    made_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (job_id, tenant_id) REFERENCES jobs (job_id, tenant_id) ON DELETE CASCADE
);

-- Decisions of people about a finished ad; the newest counts. chosen: the candidate for each format.
CREATE TABLE IF NOT EXISTS ad_decisions (
    decision_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id      uuid NOT NULL,
    tenant_id   varchar(255) NOT NULL,
    approved    boolean NOT NULL,
    reason      text NOT NULL,
    chosen      jsonb NOT NULL,
    decided_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (job_id, tenant_id) REFERENCES jobs (job_id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS ad_decisions_by_job ON ad_decisions (job_id, decision_id DESC);

-- Since the first version: the copy by roles ({"headline": …}; goes before the strings) and the formats wanted.
ALTER TABLE ad_inputs ADD COLUMN IF NOT EXISTS copy_fields jsonb;
ALTER TABLE ad_inputs ADD COLUMN IF NOT EXISTS formats text[];

-- The question to a vision model and its answer; pictures in a store, by key.
ALTER TABLE ad_analyses ADD COLUMN IF NOT EXISTS trace jsonb;
ALTER TABLE ad_judgements ADD COLUMN IF NOT EXISTS trace jsonb;
ALTER TABLE ad_inputs ADD COLUMN IF NOT EXISTS photo_key text;
ALTER TABLE ad_inputs ALTER COLUMN photo DROP NOT NULL;
ALTER TABLE ad_overlays ADD COLUMN IF NOT EXISTS image_key text;
ALTER TABLE ad_overlays ALTER COLUMN image DROP NOT NULL;

-- How many variants of the ad are made, of which the best wins; whether a person approves it before it counts as published.
ALTER TABLE ad_inputs ADD COLUMN IF NOT EXISTS variants smallint NOT NULL DEFAULT 1 CHECK (variants BETWEEN 1 AND 3);
ALTER TABLE ad_inputs ADD COLUMN IF NOT EXISTS review boolean NOT NULL DEFAULT false;

-- The variants of an ad, each a job of its own (03_jobs_variants_trigger.sql). Its pictures are those of ad_pictures whose place is
-- number - 1 until vlm_judge has chosen; layouts are those that it draws now, round how often it was planned.
CREATE TABLE IF NOT EXISTS jobs_variants (
    variant_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job_id       uuid NOT NULL,
    tenant_id    varchar(255) NOT NULL,
    number       smallint NOT NULL,
    round        smallint NOT NULL DEFAULT 0,
    layouts      jsonb NOT NULL DEFAULT '[]',
    current_step varchar(64) NOT NULL DEFAULT 'variant',
    status       varchar(32) NOT NULL DEFAULT 'done',
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (job_id, number),
    FOREIGN KEY (job_id, tenant_id) REFERENCES jobs (job_id, tenant_id) ON DELETE CASCADE
);

ALTER TABLE ad_plans ADD COLUMN IF NOT EXISTS refused jsonb;
ALTER TABLE ad_pictures ADD COLUMN IF NOT EXISTS ordinal bigint GENERATED ALWAYS AS IDENTITY;

COMMIT;
RESET ROLE;
