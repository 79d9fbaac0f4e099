-- The engine's tables and their indexes. The functions and views over them are in protocol.sql, with the story of a
-- dispatch's life. Names and keys are compared byte by byte (COLLATE "C"): an index entry costs the writer less so.

CREATE TABLE pgbaton.pipelines (
    name          text PRIMARY KEY,
    job_table     regclass NOT NULL UNIQUE,
    key_columns   text[] NOT NULL,
    tenant_column text,
    step_column   text NOT NULL,
    status_column text NOT NULL,
    statuses      jsonb NOT NULL,
    channel       text,
    parent        text,
    parent_key    text,
    paused_at     timestamptz,
    attached_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN pgbaton.pipelines.parent IS 'the pipeline whose children its rows are; parent_key: the column that names the parent''s key';
COMMENT ON COLUMN pgbaton.pipelines.statuses IS 'the table''s words, by what they mean to the engine; it writes the first';
COMMENT ON COLUMN pgbaton.pipelines.channel IS 'every change is published there; null: workers are woken by pgbaton_wake only';

CREATE TABLE pgbaton.stages (
    pipeline    text COLLATE "C" NOT NULL REFERENCES pgbaton.pipelines (name) ON DELETE CASCADE,
    step        text COLLATE "C" NOT NULL,
    after       text COLLATE "C" NOT NULL,
    status      text COLLATE "C" NOT NULL DEFAULT 'done',
    condition   text,
    kind        text NOT NULL DEFAULT 'call' CHECK (kind IN ('call', 'move', 'wait', 'gather')),
    detail      jsonb,
    position    integer NOT NULL,
    timeout     interval NOT NULL,
    attempts    integer NOT NULL CHECK (attempts >= 1),
    concurrency integer CHECK (concurrency >= 1),
    advance     text NOT NULL DEFAULT 'stage' CHECK (advance IN ('stage', 'engine')),
    routed      boolean NOT NULL DEFAULT true,
    paused_at   timestamptz,
    strikes     integer NOT NULL DEFAULT 0,
    open_until  timestamptz,
    PRIMARY KEY (pipeline, step)
);
CREATE UNIQUE INDEX stages_one_route_per_state ON pgbaton.stages (pipeline, after, status, coalesce(condition, '')) WHERE routed;
COMMENT ON COLUMN pgbaton.stages.step IS 'its name: of a stage, the step that it performs';
COMMENT ON COLUMN pgbaton.stages.after IS 'with status: the state in which it is due, for rows that fit the condition';
COMMENT ON COLUMN pgbaton.stages.kind IS 'call: an HTTP stage; else a passage, which workers carry out by themselves, as detail says';
COMMENT ON COLUMN pgbaton.stages.advance IS 'the writer of running and done: the stage, or the engine for it';
COMMENT ON COLUMN pgbaton.stages.routed IS 'false: the stage left the pipeline; its open dispatches wait until it comes back';
COMMENT ON COLUMN pgbaton.stages.strikes IS 'times in a row that the stage was found down; above 0: one probe at a time';
COMMENT ON COLUMN pgbaton.stages.open_until IS 'until then no worker calls the stage';

CREATE TABLE pgbaton.workers (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline   text NOT NULL,
    name       text NOT NULL,
    capacity   integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    draining   boolean NOT NULL DEFAULT false,
    instead_of bigint,
    ended_at   timestamptz
);
COMMENT ON TABLE pgbaton.workers IS 'leases; a row is kept as long as the history that names it';
COMMENT ON COLUMN pgbaton.workers.instead_of IS 'the lease that this one took the place of';
COMMENT ON COLUMN pgbaton.workers.ended_at IS 'the worker left, or took a new lease: it claims nothing under this one any more';

-- A duty: this job entered a routed state. Or a look (stage ''): the job left a state that a dispatch may be open for.
-- Triggers insert, the turn that takes the job deletes; nothing is ever updated.
CREATE TABLE pgbaton.due (
    id         bigint GENERATED ALWAYS AS IDENTITY,
    pipeline   text COLLATE "C" NOT NULL,
    stage      text COLLATE "C" NOT NULL,
    job_key    text COLLATE "C" NOT NULL,
    tenant     text,
    step       text COLLATE "C",
    status     text COLLATE "C",
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- Two indexes, both paid for by the writer: claims go by stage and id, and a job is taken with all its duties. With both
-- columns, a plan that was made while the table was empty cannot walk the other index for each job.
CREATE UNIQUE INDEX due_of_stage ON pgbaton.due (pipeline, stage, id);
CREATE INDEX due_of_job ON pgbaton.due (job_key, pipeline);
COMMENT ON COLUMN pgbaton.due.step IS 'the state that the row entered, with status';

-- The one call that a job is in. Left to its stage: deadline is set. Waiting to be called (again): due_at is set. Held by a
-- worker: neither is; worker is the one that called it last. From hop to hop a row is updated in place (HOT): no index names a column that changes then.
CREATE TABLE pgbaton.calls (
    pipeline     text COLLATE "C" NOT NULL,
    job_key      text COLLATE "C" NOT NULL,
    id           bigint NOT NULL,
    stage        text COLLATE "C" NOT NULL,
    entry        text COLLATE "C" NOT NULL,
    tenant       text,
    run          bigint NOT NULL,
    attempt      integer NOT NULL,
    failures     integer NOT NULL DEFAULT 0,
    worker       bigint,
    created_at   timestamptz NOT NULL,
    started_at   timestamptz,
    due_at       timestamptz,
    waits_for    text COLLATE "C",
    deadline     timestamptz,
    slot         text COLLATE "C",
    outcome      text,
    http_status  integer,
    error        text,
    answer       text,
    seen         bigint,
    next_id      bigint,
    next_at      timestamptz,
    missing      integer,
    PRIMARY KEY (pipeline, job_key),
    CHECK (num_nonnulls(deadline, due_at) <= 1 AND num_nonnulls(worker, deadline, due_at) >= 1),
    CHECK ((due_at IS NULL) = (waits_for IS NULL))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX calls_waiting ON pgbaton.calls (pipeline, waits_for, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX calls_left ON pgbaton.calls (pipeline, deadline) WHERE deadline IS NOT NULL;
CREATE INDEX calls_slots ON pgbaton.calls (pipeline, slot) WHERE slot IS NOT NULL;
COMMENT ON COLUMN pgbaton.calls.id IS 'the dispatch: the id of the duty that it was made from';
COMMENT ON COLUMN pgbaton.calls.entry IS 'the step in whose done the stage is called; a rewind goes there';
COMMENT ON COLUMN pgbaton.calls.run IS 'the first dispatch of this run of the job: one trace';
COMMENT ON COLUMN pgbaton.calls.attempt IS 'calls begun so far; with the id it names the attempt that may settle';
COMMENT ON COLUMN pgbaton.calls.failures IS 'attempts that count against the stage''s limit';
COMMENT ON COLUMN pgbaton.calls.waits_for IS 'the stage, while the call waits for due_at: an index by stage that hops do not touch';
COMMENT ON COLUMN pgbaton.calls.slot IS 'the stage, where it has a limit and this call counts against it';
COMMENT ON COLUMN pgbaton.calls.outcome IS 'with http_status, error, answer: of an attempt that goes on; while the call waits: how the last one ended';
COMMENT ON COLUMN pgbaton.calls.seen IS 'the newest duty or look that was taken while the call stood: a decision from before it is void';
COMMENT ON COLUMN pgbaton.calls.missing IS 'of a gather: children that must end, at least, before it is worth counting them again';
COMMENT ON COLUMN pgbaton.calls.next_id IS 'with next_at: a duty that came while the call was under way; it is called when that has ended';

-- An attempt that ended (called), or a dispatch that ended while none was under way. state is set on the row that ended
-- the dispatch. Workers insert, in batches; prune deletes.
CREATE TABLE pgbaton.history (
    id          bigint NOT NULL,
    attempt     integer NOT NULL,
    called      boolean NOT NULL,
    pipeline    text COLLATE "C" NOT NULL,
    job_key     text COLLATE "C" NOT NULL,
    tenant      text,
    stage       text COLLATE "C" NOT NULL,
    run         bigint NOT NULL,
    failures    integer NOT NULL DEFAULT 0,
    worker      bigint,
    outcome     text NOT NULL,
    state       text CHECK (state IN ('completed', 'dead', 'cancelled')),
    http_status integer,
    error       text,
    answer      text,
    created_at  timestamptz NOT NULL,
    started_at  timestamptz,
    ended_at    timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE UNIQUE INDEX history_attempts ON pgbaton.history (id, attempt) WHERE called;
CREATE UNIQUE INDEX history_ends ON pgbaton.history (id) WHERE state IS NOT NULL;
CREATE INDEX history_of_job ON pgbaton.history (job_key, id);
CREATE INDEX history_of_tenant ON pgbaton.history (pipeline, left(tenant, 64), id) WHERE tenant IS NOT NULL;
CREATE INDEX history_lately ON pgbaton.history (ended_at);
CREATE INDEX history_troubled ON pgbaton.history (pipeline, stage, state, id) WHERE state IN ('dead', 'cancelled');
CREATE INDEX history_failed ON pgbaton.history (id, attempt) WHERE error IS NOT NULL;
COMMENT ON COLUMN pgbaton.history.answer IS 'the beginning of the answer''s body, as far as the workers'' setting lets it be kept';

-- How often a job has come by a route that is bounded. Written with the move that it counts; a rerun begins anew.
CREATE TABLE pgbaton.rounds (
    pipeline text COLLATE "C" NOT NULL,
    job_key  text COLLATE "C" NOT NULL,
    route    text COLLATE "C" NOT NULL,
    taken    integer NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pipeline, job_key, route)
);

CREATE TABLE pgbaton.paused_tenants (
    pipeline   text COLLATE "C" NOT NULL REFERENCES pgbaton.pipelines (name) ON DELETE CASCADE,
    tenant     text NOT NULL,
    paused_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    resumed_at timestamptz,
    PRIMARY KEY (pipeline, tenant)
);
COMMENT ON COLUMN pgbaton.paused_tenants.resumed_at IS 'set: not paused any more; the row stays until everything that was parked is due again';

CREATE TABLE pgbaton.audit (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    who      text NOT NULL,
    action   text NOT NULL,
    pipeline text NOT NULL,
    stage    text,
    tenant   text,
    job_key  text,
    jobs     integer NOT NULL DEFAULT 0,
    detail   jsonb NOT NULL DEFAULT '{}'
);
