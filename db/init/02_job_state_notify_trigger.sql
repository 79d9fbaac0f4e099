-- The schema of pgbaton, then the routes and the trigger of the pipeline ad_creative.
-- For plain psql. Safe to run again, and beside running workers. Printed by `pgbaton sql`.
BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;  -- no name is looked up where other roles may create things
DO $pgbaton$
BEGIN
    IF to_regnamespace('pgbaton') IS NULL THEN
        CREATE SCHEMA pgbaton;
    ELSIF NOT (SELECT pg_has_role(n.nspowner, 'USAGE') FROM pg_namespace AS n WHERE n.nspname = 'pgbaton') THEN
        RAISE EXCEPTION 'the schema pgbaton belongs to another role' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF to_regclass('pgbaton.migrations') IS NULL THEN  -- an administrator may have made the schema before, with its rights
        CREATE TABLE pgbaton.migrations (
            version    integer PRIMARY KEY,
            name       text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        );
    END IF;
EXCEPTION WHEN unique_violation OR duplicate_schema THEN
    NULL;  -- another migrate, for which this one has waited, has made it
END
$pgbaton$;
LOCK TABLE pgbaton.migrations IN SHARE UPDATE EXCLUSIVE MODE;
DO $pgbaton$
BEGIN
    IF NOT EXISTS (SELECT FROM pgbaton.migrations WHERE version = 1) THEN
        EXECUTE $migration$
-- The engine's tables and their indexes. The functions and views over them are in protocol.sql, with the story of a
-- dispatch's life. Names and keys are compared byte by byte (COLLATE "C"): an index entry costs the writer less so.

CREATE TABLE pgbaton.pipelines (
    name          text PRIMARY KEY,
    job_table     regclass NOT NULL,
    key_columns   text[] NOT NULL,
    tenant_column text,
    step_column   text NOT NULL,
    status_column text NOT NULL,
    priority_column text,
    not_before_column text,
    tier_column text,
    statuses      jsonb NOT NULL,
    channel       text,
    parent        text,
    parent_key    text[],
    paused_at     timestamptz,
    known         jsonb,
    attached_at   timestamptz NOT NULL DEFAULT now(),
    home_system   bigint,
    home_database oid,
    rollout       jsonb,
    triggers      text[] NOT NULL,
    UNIQUE (job_table, triggers)
);
COMMENT ON COLUMN pgbaton.pipelines.parent
    IS 'the pipeline whose children its rows are; parent_key: the columns that name the parent''s key';
COMMENT ON COLUMN pgbaton.pipelines.triggers
    IS 'the names of its triggers: the first pipeline of a table has the usual ones, others their own';
COMMENT ON COLUMN pgbaton.pipelines.statuses IS 'the table''s words, by what they mean to the engine; it writes the first';
COMMENT ON COLUMN pgbaton.pipelines.known
    IS 'the table as it was attached: {table: its name, columns: {name: number}}; so a name that changes is recognised';
COMMENT ON COLUMN pgbaton.pipelines.home_database
    IS 'with home_system, the server''s system identifier (null: not told): where it was attached. Workers claim nowhere else';
COMMENT ON COLUMN pgbaton.pipelines.rollout
    IS 'shadow mode: {share: percent of the jobs that are called, tenants: those called besides, urls: by stage}; null: all are '
       'called';
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
    advance     text NOT NULL DEFAULT 'stage' CHECK (advance IN ('stage', 'engine')),
    routed      boolean NOT NULL DEFAULT true,
    paused_at   timestamptz,
    strikes     integer NOT NULL DEFAULT 0,
    open_until  timestamptz,
    -- Limits: what the file says, what operators set in its place, and what comes of both.
    attached    jsonb NOT NULL DEFAULT '{}',
    operated    jsonb NOT NULL DEFAULT '{}',
    concurrency integer GENERATED ALWAYS AS (((attached || operated) ->> 'concurrency')::integer) STORED CHECK (concurrency >= 1),
    per_tenant  integer GENERATED ALWAYS AS (((attached || operated) ->> 'per_tenant')::integer) STORED CHECK (per_tenant >= 1),
    rate        float8 GENERATED ALWAYS AS (((attached || operated) ->> 'rate')::float8) STORED CHECK (rate > 0),
    rate_per_tenant float8 GENERATED ALWAYS AS (((attached || operated) ->> 'rate_per_tenant')::float8) STORED
                CHECK (rate_per_tenant > 0),
    pool        text COLLATE "C" GENERATED ALWAYS AS (attached ->> 'pool') STORED,
    cost        integer GENERATED ALWAYS AS ((attached ->> 'cost')::integer) STORED CHECK (cost >= 1),
    account     text GENERATED ALWAYS AS (attached ->> 'account') STORED,
    takes_turns boolean NOT NULL DEFAULT false,
    ceiling     float8 CHECK (ceiling >= 1),
    refused_at  float8,
    lowered_at    timestamptz,
    held_until  timestamptz,
    governed    boolean GENERATED ALWAYS AS (
                takes_turns OR ceiling IS NOT NULL OR attached ->> 'pool' IS NOT NULL
                OR (attached || operated) ->> 'per_tenant' IS NOT NULL OR (attached || operated) ->> 'rate' IS NOT NULL
                OR (attached || operated) ->> 'rate_per_tenant' IS NOT NULL) STORED,
    PRIMARY KEY (pipeline, step)
);
CREATE UNIQUE INDEX stages_one_route_per_state ON pgbaton.stages (pipeline, after, status, coalesce(condition, '')) WHERE routed;
COMMENT ON COLUMN pgbaton.stages.step IS 'its name: of a stage, the step that it performs';
COMMENT ON COLUMN pgbaton.stages.after IS 'with status: the state in which it is due, for rows that fit the condition';
COMMENT ON COLUMN pgbaton.stages.kind
    IS 'call: an HTTP stage; else a passage, which workers carry out by themselves, as detail says';
COMMENT ON COLUMN pgbaton.stages.advance IS 'the writer of running and done: the stage, or the engine for it';
COMMENT ON COLUMN pgbaton.stages.routed IS 'false: the stage left the pipeline; its open dispatches wait until it comes back';
COMMENT ON COLUMN pgbaton.stages.strikes IS 'times in a row that the stage was found down; above 0: one probe at a time';
COMMENT ON COLUMN pgbaton.stages.open_until IS 'until then no worker calls the stage';
COMMENT ON COLUMN pgbaton.stages.rate
    IS 'calls that may begin in a second; a second''s worth, and one at least, may begin at once';
COMMENT ON COLUMN pgbaton.stages.account
    IS 'the job table''s column that names the provider''s account; what answers 429 teach is kept by account then '
       '(pgbaton.accounts)';
COMMENT ON COLUMN pgbaton.stages.takes_turns IS 'triggers give its duties a rank, so that tenants take turns';
COMMENT ON COLUMN pgbaton.stages.ceiling
    IS 'calls under way at once that the stage was found to bear, by its answers 429; null: never refused';
COMMENT ON COLUMN pgbaton.stages.refused_at
    IS 'calls under way when it last refused: beneath it the ceiling rises quickly, from there on slowly';
COMMENT ON COLUMN pgbaton.stages.lowered_at
    IS 'when it last refused and the ceiling fell: an answer to a call from before it changes nothing';
COMMENT ON COLUMN pgbaton.stages.held_until IS 'until then the stage asked to be left alone (429)';
COMMENT ON COLUMN pgbaton.stages.governed IS 'claims of it go by pgbaton.admit()';

-- Places that stages share, of one pipeline or of several. size is what attach wrote, or what an operator set.
CREATE TABLE pgbaton.pools (
    name     text COLLATE "C" PRIMARY KEY,
    attached integer NOT NULL CHECK (attached >= 1),
    operated integer CHECK (operated >= 1),
    size     integer GENERATED ALWAYS AS (coalesce(operated, attached)) STORED,
    kept_for text[],
    kept_until timestamptz
) WITH (fillfactor = 50);
COMMENT ON COLUMN pgbaton.pools.kept_for
    IS 'with kept_until: pipeline and stage of a call that costs more than is free; others take nothing meanwhile';

-- Tenants with a weight or limits of their own. Where one is null, the tenant's tier says it, then the stage; the last weight
-- is 1.
CREATE TABLE pgbaton.tenants (
    pipeline   text COLLATE "C" NOT NULL REFERENCES pgbaton.pipelines (name) ON DELETE CASCADE,
    tenant     text COLLATE "C" NOT NULL,
    weight     integer CHECK (weight BETWEEN 1 AND 100),
    per_tenant integer CHECK (per_tenant >= 1),
    rate_per_tenant float8 CHECK (rate_per_tenant > 0),
    PRIMARY KEY (pipeline, tenant)
);
COMMENT ON COLUMN pgbaton.tenants.weight IS 'calls of this tenant in one turn';

-- Weights and limits of tenants by a column of the job table (pipelines.tier_column), as the file says.
CREATE TABLE pgbaton.tiers (
    pipeline   text COLLATE "C" NOT NULL REFERENCES pgbaton.pipelines (name) ON DELETE CASCADE,
    tier       text COLLATE "C" NOT NULL,
    weight     integer CHECK (weight BETWEEN 1 AND 100),
    per_tenant integer CHECK (per_tenant >= 1),
    rate_per_tenant float8 CHECK (rate_per_tenant > 0),
    PRIMARY KEY (pipeline, tier)
);

-- Provider's accounts that have answered 429: as the four columns of pgbaton.stages, for stages that name accounts.
CREATE TABLE pgbaton.accounts (
    pipeline   text COLLATE "C" NOT NULL,
    stage      text COLLATE "C" NOT NULL,
    account    text COLLATE "C" NOT NULL,
    ceiling    float8 CHECK (ceiling >= 1),
    refused_at float8,
    lowered_at timestamptz,
    held_until timestamptz,
    PRIMARY KEY (pipeline, stage, account),
    FOREIGN KEY (pipeline, stage) REFERENCES pgbaton.stages (pipeline, step) ON DELETE CASCADE
) WITH (fillfactor = 50);

-- Whose turn it is at a stage. One row a stage and source, changed in place by the claim that holds the stage's lock.
CREATE TABLE pgbaton.turns (
    pipeline   text COLLATE "C" NOT NULL,
    stage      text COLLATE "C" NOT NULL,
    again      boolean NOT NULL,
    lane       text COLLATE "C" NOT NULL DEFAULT '',
    used       integer NOT NULL DEFAULT 0,
    odd        boolean NOT NULL DEFAULT true,
    PRIMARY KEY (pipeline, stage, again)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.2);
COMMENT ON COLUMN pgbaton.turns.again IS 'of calls that wait to be called again, or of duties';
COMMENT ON COLUMN pgbaton.turns.lane IS 'the tenant that was served last, and how many calls of its weight it has had (used)';
COMMENT ON COLUMN pgbaton.turns.odd IS 'which of calls and duties gets the odd place, where both wait';

-- Rates: when all calls that have begun are paid for. A row whose time is past says nothing, and is pruned.
CREATE TABLE pgbaton.spent (
    pipeline text COLLATE "C" NOT NULL,
    stage    text COLLATE "C" NOT NULL,
    tenant   text COLLATE "C" NOT NULL,
    at       timestamptz NOT NULL,
    until    timestamptz NOT NULL,
    PRIMARY KEY (pipeline, stage, tenant)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON COLUMN pgbaton.spent.tenant IS '"": the stage as a whole; "=" and its name: a tenant';

CREATE TABLE pgbaton.workers (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline   text NOT NULL,
    name       text NOT NULL,
    capacity   integer NOT NULL,
    stages     text[] NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    draining   boolean NOT NULL DEFAULT false,
    under_way  jsonb NOT NULL DEFAULT '{}',
    instead_of bigint,
    ended_at   timestamptz,
    version    text,
    base_url   text,
    routes     jsonb,
    ailment    text,
    trouble    text,
    trouble_at timestamptz
);
COMMENT ON COLUMN pgbaton.workers.routes
    IS 'with version and base_url: what the worker runs with, [[step, after, path], ...]; null: it has not said';
COMMENT ON COLUMN pgbaton.workers.trouble
    IS 'with ailment (a finding''s code) and trouble_at: what kept this worker from its work last, beside jobs'' own failures';
COMMENT ON TABLE pgbaton.workers IS 'leases; a row is kept as long as the history that names it';
COMMENT ON COLUMN pgbaton.workers.stages IS 'those that it calls: all of its file, or the ones that it was told to take';
COMMENT ON COLUMN pgbaton.workers.under_way
    IS 'calls that it held at its last renewal, by stage: an index that counted them would cost each hop';
COMMENT ON COLUMN pgbaton.workers.instead_of IS 'the lease that this one took the place of';
COMMENT ON COLUMN pgbaton.workers.ended_at IS 'the worker left, or took a new lease: it claims nothing under this one any more';

-- A tenant's jobs of one provider's account are a lane; without accounts, a lane is a tenant. Its name is the tenant's, and
-- behind the character 0x1f, which triggers take out of accounts, the account's. Without a SET clause Postgres puts the body in
-- the place of the call, in the indexes too; so its operators are qualified. Lanes are compared byte by byte:
-- lane(…) COLLATE "C".
CREATE FUNCTION pgbaton.lane(tenant text, account text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $fn$ SELECT coalesce(tenant, '') OPERATOR(pg_catalog.||) coalesce(E'\x1f' OPERATOR(pg_catalog.||) account, '') $fn$;

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
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    rank       timestamptz,
    not_before timestamptz,
    account    text,
    tier       text
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- Two indexes, both paid for by the writer: claims go by stage and id, and a job is taken with all its duties. With both
-- columns, a plan that was made while the table was empty cannot walk the other index for each job.
CREATE UNIQUE INDEX due_of_stage ON pgbaton.due (pipeline, stage, id);
CREATE INDEX due_of_job ON pgbaton.due (job_key, pipeline);
-- Empty, and free for the writer, where nothing takes turns; so is the next.
CREATE INDEX due_in_turn
    ON pgbaton.due (pipeline, stage, (pgbaton.lane(tenant, account) COLLATE "C"), rank, id)
 WHERE rank IS NOT NULL;
CREATE INDEX due_not_yet ON pgbaton.due (pipeline, not_before) WHERE not_before IS NOT NULL;
COMMENT ON COLUMN pgbaton.due.rank
    IS 'where the stage takes turns: the order within the tenant; its time, later or sooner by its priority';
COMMENT ON COLUMN pgbaton.due.not_before IS 'the duty waits until then: it has no rank, and workers make it a call that waits';
COMMENT ON COLUMN pgbaton.due.account
    IS 'the provider''s account that the stage is called with, where the stage names a column for it; tenant and account are a '
       'lane (admission.sql)';
COMMENT ON COLUMN pgbaton.due.tier IS 'the tenant''s tier, where the pipeline names a column for it';
COMMENT ON COLUMN pgbaton.due.step IS 'the state that the row entered, with status';

-- The one call that a job is in. Left to its stage: deadline is set. Waiting to be called (again): due_at is set. Held by a
-- worker: neither is; worker is the one that called it last. From hop to hop a row is updated in place (HOT): no index names a
-- column that changes then.
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
    account      text,
    tier         text,
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
CREATE INDEX calls_waiting_in_turn
    ON pgbaton.calls (pipeline, waits_for, (pgbaton.lane(tenant, account) COLLATE "C"), due_at)
 WHERE due_at IS NOT NULL;
CREATE INDEX calls_slots ON pgbaton.calls (pipeline, slot, (coalesce(tenant, '') COLLATE "C")) WHERE slot IS NOT NULL;
COMMENT ON COLUMN pgbaton.calls.id IS 'the dispatch: the id of the duty that it was made from';
COMMENT ON COLUMN pgbaton.calls.entry IS 'the step in whose done the stage is called; a rewind goes there';
COMMENT ON COLUMN pgbaton.calls.run IS 'the first dispatch of this run of the job: one trace';
COMMENT ON COLUMN pgbaton.calls.attempt IS 'calls begun so far; with the id it names the attempt that may settle';
COMMENT ON COLUMN pgbaton.calls.failures IS 'attempts that count against the stage''s limit';
COMMENT ON COLUMN pgbaton.calls.waits_for
    IS 'the stage, while the call waits for due_at: an index by stage that hops do not touch';
COMMENT ON COLUMN pgbaton.calls.slot IS 'the stage, where it has a limit and this call counts against it';
COMMENT ON COLUMN pgbaton.calls.outcome
    IS 'with http_status, error, answer: of an attempt that goes on; while the call waits: how the last one ended';
COMMENT ON COLUMN pgbaton.calls.seen
    IS 'the newest duty or look that was taken while the call stood: a decision from before it is void';
COMMENT ON COLUMN pgbaton.calls.missing
    IS 'of a gather: children that must end, at least, before it is worth counting them again';
COMMENT ON COLUMN pgbaton.calls.next_id
    IS 'with next_at: a duty that came while the call was under way; it is called when that has ended';

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
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05,
        autovacuum_freeze_min_age = 0);  -- a row is never updated: its page is frozen once, no wraparound vacuum reads it again
CREATE UNIQUE INDEX history_attempts ON pgbaton.history (id, attempt) WHERE called;
CREATE UNIQUE INDEX history_ends ON pgbaton.history (id) WHERE state IS NOT NULL;
CREATE INDEX history_of_job ON pgbaton.history (job_key, id);
CREATE INDEX history_of_tenant ON pgbaton.history (pipeline, left(tenant, 64), id) WHERE tenant IS NOT NULL;
CREATE INDEX history_lately ON pgbaton.history (ended_at);
CREATE INDEX history_troubled ON pgbaton.history (pipeline, stage, state, id) WHERE state IN ('dead', 'cancelled');
CREATE INDEX history_failed ON pgbaton.history (id, attempt) WHERE error IS NOT NULL;
COMMENT ON COLUMN pgbaton.history.answer
    IS 'the beginning of the answer''s body, as far as the workers'' setting lets it be kept';

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
COMMENT ON COLUMN pgbaton.paused_tenants.resumed_at
    IS 'set: not paused any more; the row stays until everything that was parked is due again';

-- The acts of operators. An act on many jobs is one row, and its jobs are in audit_jobs: written in batches, each of which
-- moves the row on in its own transaction, so that what the row says is true whenever its runner dies.
CREATE TABLE pgbaton.audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    who        text NOT NULL,
    action     text NOT NULL,
    pipeline   text NOT NULL,
    stage      text,
    tenant     text,
    job_key    text,
    jobs       integer NOT NULL DEFAULT 0,
    detail     jsonb NOT NULL DEFAULT '{}',
    reason     text,
    state      text CHECK (state IN ('running', 'done', 'aborted', 'broken')),
    total      integer,
    seen       integer NOT NULL DEFAULT 0,
    reached    text,
    runner     text,
    renewed_at timestamptz,
    ended_at   timestamptz,
    undoes     bigint,
    error      text
);
CREATE INDEX audit_of_job ON pgbaton.audit (job_key) WHERE job_key IS NOT NULL;
CREATE UNIQUE INDEX audit_undone_once ON pgbaton.audit (undoes) WHERE undoes IS NOT NULL AND state <> 'aborted';
COMMENT ON COLUMN pgbaton.audit.jobs IS 'how many were changed';
COMMENT ON COLUMN pgbaton.audit.state IS 'of an act on many jobs; null: done at once';
COMMENT ON COLUMN pgbaton.audit.total IS 'how many jobs a person agreed to; null: all of them, more than were counted';
COMMENT ON COLUMN pgbaton.audit.seen IS 'how many were looked at';
COMMENT ON COLUMN pgbaton.audit.reached IS 'where the next batch begins: behind this dispatch, or (of an undo) this key';
COMMENT ON COLUMN pgbaton.audit.runner
    IS 'the one that may write the next batch; another one that takes over writes its own name';
COMMENT ON COLUMN pgbaton.audit.undoes IS 'the act that this one takes back';

CREATE TABLE pgbaton.audit_jobs (
    act     bigint NOT NULL REFERENCES pgbaton.audit (id) ON DELETE CASCADE,
    job_key text COLLATE "C" NOT NULL,
    stage   text,
    PRIMARY KEY (act, job_key)
);
CREATE INDEX audit_jobs_of_job ON pgbaton.audit_jobs (job_key);
COMMENT ON TABLE pgbaton.audit_jobs IS 'the jobs that an act on many changed, and the stage at which; pruned with the history';

-- The ends of an hour's dispatches, for the plots and for what is usual at a stage: rolled up once by a worker when the hour is
-- over, kept for 13 weeks. Of the whole pipeline (all), of the 50 tenants that had most of it (one), and of the others together
-- (rest).
CREATE TABLE pgbaton.throughput (
    pipeline  text COLLATE "C" NOT NULL REFERENCES pgbaton.pipelines (name) ON DELETE CASCADE,
    hour      timestamptz NOT NULL,
    kind      text COLLATE "C" NOT NULL CHECK (kind IN ('all', 'one', 'rest')),
    tenant    text NOT NULL,
    stage     text COLLATE "C" NOT NULL,
    completed integer NOT NULL,
    dead      integer NOT NULL,
    waits     jsonb NOT NULL,
    works     jsonb NOT NULL,
    p50       float8,
    p95       float8,
    PRIMARY KEY (pipeline, kind, hour, tenant, stage)
);
CREATE INDEX throughput_of_tenant ON pgbaton.throughput (pipeline, tenant, hour) WHERE kind = 'one';
COMMENT ON COLUMN pgbaton.throughput.waits
    IS 'how many first attempts waited how long, by half powers of two of a millisecond: {"12": 3} is three of 64 to 90 ms';
COMMENT ON COLUMN pgbaton.throughput.works IS 'likewise, how long the completed calls took';
COMMENT ON COLUMN pgbaton.throughput.p50
    IS 'with p95: seconds of the completed calls, the middle of the class in works: to within a fifth. Kept, for each look at '
       'the health reads a week of them';

CREATE TABLE pgbaton.throughput_to (
    pipeline  text COLLATE "C" PRIMARY KEY REFERENCES pgbaton.pipelines (name) ON DELETE CASCADE,
    rolled_to timestamptz NOT NULL
);

-- The decision about rows that stood in a routed state when that state became routed: a walk along the table's key.
CREATE TABLE pgbaton.adoptions (
    pipeline   text COLLATE "C" PRIMARY KEY,
    mode       text NOT NULL CHECK (mode IN ('ask', 'now', 'backfill')),
    after_key  text,
    looked_at  bigint NOT NULL DEFAULT 0,
    rows       jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz
);
COMMENT ON COLUMN pgbaton.adoptions.mode
    IS 'ask: not decided yet; now: they are left alone; backfill: they are called. Until it has ended nothing is reconciled';
COMMENT ON COLUMN pgbaton.adoptions.after_key IS 'the walk goes on behind this key';
COMMENT ON COLUMN pgbaton.adoptions.rows IS 'how many were left alone, or called, by stage';

-- Rows of the past: they stood in (step, status) when that became a routed state, and are left alone until they move.
CREATE TABLE pgbaton.past (
    pipeline text COLLATE "C" NOT NULL,
    job_key  text COLLATE "C" NOT NULL,
    step     text COLLATE "C" NOT NULL,
    status   text COLLATE "C" NOT NULL,
    PRIMARY KEY (pipeline, job_key)
);

-- Shadow mode: calls that would have been made. Triggers insert in place of a duty; prune deletes.
CREATE TABLE pgbaton.shadow (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline   text COLLATE "C" NOT NULL,
    stage      text COLLATE "C" NOT NULL,
    job_key    text COLLATE "C" NOT NULL,
    tenant     text,
    step       text COLLATE "C" NOT NULL,
    url        text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX shadow_of_job ON pgbaton.shadow (job_key, pipeline, id);

-- The tasks that workers watch besides their work; see docs/operations.md. A task is done by one worker at a time.
CREATE TABLE pgbaton.watches (
    pipeline text COLLATE "C" NOT NULL REFERENCES pgbaton.pipelines (name) ON DELETE CASCADE,
    task     text COLLATE "C" NOT NULL,
    until    timestamptz NOT NULL,
    PRIMARY KEY (pipeline, task)
);
COMMENT ON COLUMN pgbaton.watches.until IS 'until then no other worker begins it';

-- Where the census of the user's table is (next_key, so_far), and what the last whole one found.
CREATE TABLE pgbaton.census (
    pipeline text COLLATE "C" PRIMARY KEY REFERENCES pgbaton.pipelines (name) ON DELETE CASCADE,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_key text,
    so_far   jsonb NOT NULL DEFAULT '[]',
    seen     bigint NOT NULL DEFAULT 0,
    whole_began_at timestamptz,
    whole_ended_at timestamptz,
    whole_seen     bigint,
    whole          jsonb
);

-- Findings, from their appearance to their end: an incident's timeline, and what the webhook has yet to tell.
CREATE TABLE pgbaton.findings (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline    text COLLATE "C" NOT NULL,
    code        text COLLATE "C" NOT NULL,
    subject     text COLLATE "C" NOT NULL,
    finding     jsonb NOT NULL,
    appeared_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at    timestamptz,
    tell_at     timestamptz,
    tries       integer NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX findings_open ON pgbaton.findings (pipeline, code, subject) WHERE ended_at IS NULL;
CREATE INDEX findings_lately ON pgbaton.findings (pipeline, appeared_at);
CREATE INDEX findings_untold ON pgbaton.findings (tell_at) WHERE tell_at IS NOT NULL;
COMMENT ON COLUMN pgbaton.findings.tell_at IS 'when the webhook is to be told (again); null: it was, or none is set';

-- When workers of another version, address or set of routes began, or the routes in the database changed.
CREATE TABLE pgbaton.deployments (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text COLLATE "C" NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    what     text NOT NULL CHECK (what IN ('version', 'base_url', 'routes')),
    was      text,
    is_now   text NOT NULL
);
CREATE INDEX deployments_of ON pgbaton.deployments (pipeline, what, id);

        $migration$;
        INSERT INTO pgbaton.migrations (version, name) VALUES (1, 'tables');
    END IF;
END
$pgbaton$;
DO $pgbaton$
BEGIN
    -- Functions and views are code: they are replaced where they differ. The schema's comment says which are installed.
    IF obj_description('pgbaton'::regnamespace, 'pg_namespace') IS DISTINCT FROM 'pgbaton protocol 5a1d35d353a2261735a49e7281e8701f' THEN
        EXECUTE $protocol$
-- What limits leave: how many calls each kind of limit still lets begin, and what answers 429 teach it. admission.sql shares it
-- out.
--
-- *room* is how many more calls a limit lets begin (null: any number), room_in how many seconds until it lets one, where that is
-- known.
-- Functions without a search_path are put in the place of the call by Postgres, or called under that of pgbaton.admit().

-- How many calls a rate lets begin at ``at``; null: any. A second's worth, and one at least, may begin at once; ``until`` is when
-- all that have begun are paid for.
CREATE OR REPLACE FUNCTION pgbaton.allowance(rate float8, until timestamptz, at timestamptz) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $fn$
    SELECT CASE WHEN rate IS NOT NULL THEN floor(
        greatest(rate, 1) - greatest(coalesce(extract(epoch FROM until - at), 0), 0)::float8 * rate + 1e-6)::integer END
$fn$;

-- Seconds from ``at`` until a rate lets the next call begin.
CREATE OR REPLACE FUNCTION pgbaton.allowed_in(rate float8, until timestamptz, at timestamptz) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $fn$
    SELECT greatest(0, extract(epoch FROM until - at)::float8 - (greatest(rate, 1) - 1) / rate)
$fn$;

-- How many calls the limits of the stage as a whole let begin. The stage is locked.
CREATE OR REPLACE FUNCTION pgbaton.room_of_stage(s pgbaton.stages, at timestamptz, OUT room integer, OUT room_in float8)
LANGUAGE plpgsql STABLE
AS $fn$
DECLARE
    paid timestamptz;
BEGIN
    IF s.held_until > at THEN
        room := 0; room_in := extract(epoch FROM s.held_until - at);
        RETURN;
    END IF;
    IF num_nonnulls(s.concurrency, s.ceiling) > 0 THEN
        room := least(s.concurrency, floor(s.ceiling)::integer) - (
            SELECT count(*) FROM pgbaton.calls AS c WHERE c.pipeline = s.pipeline AND c.slot = s.step)::integer;
    END IF;
    IF s.rate IS NOT NULL AND (room > 0 OR room IS NULL) THEN
        SELECT b.until INTO paid FROM pgbaton.spent AS b WHERE b.pipeline = s.pipeline AND b.stage = s.step AND b.tenant = '';
        room := least(room, pgbaton.allowance(s.rate, paid, at));
        room_in := CASE WHEN room <= 0 THEN pgbaton.allowed_in(s.rate, paid, at) END;
    END IF;
END
$fn$;

-- How many calls of a lane a stage lets begin: by the limits of its tenant (the tenant's own, its tier's or the stage's), and by
-- the ceiling that answers 429 have taught for its account. weight: the tenant's calls in one turn. given: what this claim has
-- granted already to the tenant's other lanes ("t…") and to the account's ("a…"), so that no place is given twice.
CREATE OR REPLACE FUNCTION pgbaton.room_of_lane(s pgbaton.stages, of_tenant text, of_account text, of_tier text, given jsonb,
                                                at timestamptz, OUT room integer, OUT weight integer,
                                                OUT rate float8, OUT room_in float8)
LANGUAGE plpgsql STABLE
AS $fn$
DECLARE
    own record;
    a pgbaton.accounts;
    paid timestamptz;
BEGIN
    SELECT coalesce(t.weight, r.weight, 1) AS weight, coalesce(t.per_tenant, r.per_tenant, s.per_tenant) AS per_tenant,
           coalesce(t.rate_per_tenant, r.rate_per_tenant, s.rate_per_tenant) AS rate, p.tenant IS NOT NULL AS paused
      INTO own
      FROM (VALUES (true)) AS one (there)
      LEFT JOIN pgbaton.tenants AS t ON t.pipeline = s.pipeline AND t.tenant = of_tenant
      LEFT JOIN pgbaton.tiers AS r ON r.pipeline = s.pipeline AND r.tier = of_tier
      LEFT JOIN pgbaton.paused_tenants AS p ON p.pipeline = s.pipeline AND p.tenant = of_tenant AND p.resumed_at IS NULL;
    weight := own.weight; rate := own.rate;
    IF own.paused THEN
        room := 0;
        RETURN;
    END IF;
    IF own.per_tenant IS NOT NULL THEN
        room := own.per_tenant - coalesce((given ->> ('t' || of_tenant))::integer, 0) - (
            SELECT count(*) FROM pgbaton.calls AS c
             WHERE c.pipeline = s.pipeline AND c.slot = s.step AND coalesce(c.tenant, '') COLLATE "C" = of_tenant)::integer;
    END IF;
    IF rate IS NOT NULL AND (room > 0 OR room IS NULL) THEN
        SELECT b.until INTO paid FROM pgbaton.spent AS b
         WHERE b.pipeline = s.pipeline AND b.stage = s.step AND b.tenant = '=' || of_tenant;
        room := least(room, pgbaton.allowance(rate, paid, at) - coalesce((given ->> ('t' || of_tenant))::integer, 0));
        room_in := CASE WHEN room <= 0 THEN pgbaton.allowed_in(rate, paid, at) END;
    END IF;
    IF of_account IS NOT NULL AND (room > 0 OR room IS NULL) THEN
        SELECT * INTO a FROM pgbaton.accounts AS o WHERE o.pipeline = s.pipeline AND o.stage = s.step AND o.account = of_account;
        IF a.held_until > at THEN
            room := 0; room_in := extract(epoch FROM a.held_until - at);
        ELSIF a.ceiling IS NOT NULL THEN
            room := least(room, floor(a.ceiling)::integer - coalesce((given ->> ('a' || of_account))::integer, 0) - (
                SELECT count(*) FROM pgbaton.calls AS c
                 WHERE c.pipeline = s.pipeline AND c.slot = s.step AND c.account = of_account)::integer);
        END IF;
    END IF;
END
$fn$;

-- How many places of a pool its calls take now.
CREATE OR REPLACE FUNCTION pgbaton.pool_use(of_pool text) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce(sum(s.cost * c.running), 0)::integer
      FROM pgbaton.stages AS s
     CROSS JOIN LATERAL (SELECT count(*) AS running FROM pgbaton.calls AS c
                          WHERE c.pipeline = s.pipeline AND c.slot = s.step) AS c
     WHERE s.pool = of_pool
$fn$;

-- What answers 429 teach: two rules, for a stage and for a provider's account alike.

-- A ceiling after so many good answers: it rises by 1 for as many as it counts calls; from the height where calls were last
-- refused, for 20 times as many, and not past that height in one go, however long the worker was away. null: it is as high as
-- ``most``, or as twice what was refused, and is forgotten.
CREATE OR REPLACE FUNCTION pgbaton.eased(ceiling float8, refused_at float8, answers integer, most integer) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN n.higher < least(most, 2 * refused_at) THEN
                CASE WHEN n.recovers THEN least(n.higher, refused_at - 1) ELSE n.higher END END
      FROM (SELECT ceiling < refused_at - 1 AS recovers,
                   ceiling + answers / ceiling / CASE WHEN ceiling < refused_at - 1 THEN 1 ELSE 20 END AS higher) AS n
$fn$;

-- A ceiling after ``refused`` of the ``running`` calls were refused. fresh: they began after the last cut, and at most half as
-- many calls are made at once from now on as there are. Else they are of the burst that was cut already, and lower the ceiling by
-- their number only.
CREATE OR REPLACE FUNCTION pgbaton.cut(running bigint, refused integer, fresh boolean,
                                       INOUT ceiling float8, INOUT refused_at float8)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT greatest(1, least(CASE WHEN fresh THEN floor(running / 2.0) ELSE ceiling END, n.refusing - 1)), n.refusing
      FROM (SELECT greatest(1, CASE WHEN fresh THEN running - refused + 1 ELSE refused_at - refused END)::float8 AS refusing) AS n
$fn$;

-- Admission: for which jobs stages are called next, in a pipeline where something limits or orders the calls
-- (pgbaton.stages.governed). A pipeline without limits and order never comes here.
--
-- A claim (admitted/) asks pgbaton.admit() and takes what it was granted, in one statement. The rows that admit()
-- locks stay locked until that statement commits: pools by name, then stages from the last to the first. All
-- counting is done behind those locks (limits.sql), so no two claims count the same free place. A call counts by its row in
-- pgbaton.calls (slot): from the commit of its claim until it waits again or is gone, also while its worker is lost.
--
-- Between tenants: turns. The claim walks the lanes that have something waiting, one index descent each, from the one that
-- was served last; a lane gets as many calls as its tenant's weight, then the next one. Tenants at their limit are stepped over,
-- however much they have waiting. Within a lane: by rank, which is the time of the duty moved by its priority.
--
-- Most stages have less waiting than the claim may call: then all of it is called, and no turn is needed (take_all). Only where
-- more waits does a claim walk (take_turns).
--
-- *free* is how many calls this claim may still make at a stage, *places* are what is left of pools, *waits* is how many jobs are
-- in sight of the claim, which looks at one more than it may call.

-- The first lane, from ``from_lane`` on, that has something waiting for the stage; null: none. The lane after x is searched from
-- x || chr(1): no lane lies between. tier: of one of its jobs.
CREATE OR REPLACE FUNCTION pgbaton.next_lane(s pgbaton.stages, of_calls boolean, from_lane text,
                                             OUT lane text, OUT tenant text, OUT account text, OUT tier text)
LANGUAGE plpgsql STABLE
AS $fn$
#variable_conflict use_column
BEGIN
    IF of_calls THEN
        SELECT pgbaton.lane(c.tenant, c.account) COLLATE "C", coalesce(c.tenant, ''), c.account, c.tier
          INTO lane, tenant, account, tier
          FROM pgbaton.calls AS c
         WHERE c.pipeline = s.pipeline AND c.waits_for = s.step AND c.due_at IS NOT NULL
           AND pgbaton.lane(c.tenant, c.account) COLLATE "C" >= from_lane
         ORDER BY pgbaton.lane(c.tenant, c.account) COLLATE "C" LIMIT 1;
    ELSE
        SELECT pgbaton.lane(d.tenant, d.account) COLLATE "C", coalesce(d.tenant, ''), d.account, d.tier
          INTO lane, tenant, account, tier
          FROM pgbaton.due AS d
         WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.rank IS NOT NULL
           AND pgbaton.lane(d.tenant, d.account) COLLATE "C" >= from_lane
         ORDER BY pgbaton.lane(d.tenant, d.account) COLLATE "C" LIMIT 1;
    END IF;
END
$fn$;

-- How many jobs of the lane may be called at ``at``, counted up to ``most``.
CREATE OR REPLACE FUNCTION pgbaton.waits_in(s pgbaton.stages, of_calls boolean, in_lane text, most integer, at timestamptz)
RETURNS integer LANGUAGE plpgsql STABLE
AS $fn$
BEGIN
    IF of_calls THEN
        RETURN (SELECT count(*) FROM (SELECT FROM pgbaton.calls AS c
                 WHERE c.pipeline = s.pipeline AND c.waits_for = s.step AND c.due_at <= at
                   AND pgbaton.lane(c.tenant, c.account) COLLATE "C" = in_lane LIMIT most) AS n);
    END IF;
    RETURN (SELECT count(*) FROM (SELECT FROM pgbaton.due AS d
             WHERE d.pipeline = s.pipeline AND d.stage = s.step AND d.rank IS NOT NULL
               AND pgbaton.lane(d.tenant, d.account) COLLATE "C" = in_lane LIMIT most) AS n);
END
$fn$;

-- Adds calls to what a claim has given to a tenant and to an account.
CREATE OR REPLACE FUNCTION pgbaton.given_to(given jsonb, of_tenant text, of_account text, calls integer) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $fn$
    SELECT given || jsonb_build_object('t' || of_tenant, coalesce((given ->> ('t' || of_tenant))::integer, 0) + calls)
        || CASE WHEN of_account IS NULL THEN '{}'
                ELSE jsonb_build_object('a' || of_account, coalesce((given ->> ('a' || of_account))::integer, 0) + calls) END
$fn$;

-- Calls for all that waits (``counts`` by lane), as far as the lanes' own limits allow.
CREATE OR REPLACE FUNCTION pgbaton.take_all(s pgbaton.stages, lanes text[], tenants text[], accounts text[], tiers text[],
                                            counts integer[], at timestamptz,
                                            OUT calls integer[], OUT rates float8[], OUT room_in float8)
LANGUAGE plpgsql STABLE
AS $fn$
DECLARE
    own record;
    given jsonb := '{}';
BEGIN
    FOR i IN 1 .. cardinality(lanes) LOOP
        own := pgbaton.room_of_lane(s, tenants[i], accounts[i], tiers[i], given, at);
        calls[i] := greatest(0, least(counts[i], own.room));
        rates[i] := own.rate;
        room_in := least(room_in, own.room_in);
        given := pgbaton.given_to(given, tenants[i], accounts[i], calls[i]);
    END LOOP;
END
$fn$;

-- ``free`` calls for the lanes in turns, and (where it ``moves``) a note of whose turn was the last. The walk ends where one turn
-- of each lane is enough, or once around. room_in 0: there are more lanes than one claim looks at.
CREATE OR REPLACE FUNCTION pgbaton.take_turns(s pgbaton.stages, of_calls boolean, free integer, moves boolean, at timestamptz,
                                              OUT lanes text[], OUT calls integer[], OUT rates float8[], OUT room_in float8)
LANGUAGE plpgsql
AS $fn$
#variable_conflict use_variable
DECLARE
    most constant integer := 200;  -- lanes that one claim looks at under the stage's lock: 5 ms
    t pgbaton.turns;
    origin text COLLATE "C";
    here text COLLATE "C";
    wrapped boolean := false;
    looked_at integer := 0;
    l record;
    own record;
    given jsonb := '{}';
    waits integer[] := '{}';
    weights integer[] := '{}';
    found integer;
    begun integer := 0;    -- calls that the first lane has had of its turn
    in_turn integer := 0;  -- calls in one turn of each lane
    left_over integer := free;
    last text;
    used integer;
BEGIN
    lanes := '{}'; calls := '{}'; rates := '{}';
    SELECT * INTO t FROM pgbaton.turns AS o WHERE o.pipeline = s.pipeline AND o.stage = s.step AND o.again = of_calls;
    origin := CASE WHEN t.used > 0 THEN t.lane ELSE coalesce(t.lane || chr(1), '') END;
    here := origin;
    WHILE looked_at < most AND in_turn < free LOOP
        l := pgbaton.next_lane(s, of_calls, here);
        IF l.lane IS NULL AND NOT wrapped THEN
            wrapped := true;
            l := pgbaton.next_lane(s, of_calls, '');
        END IF;
        EXIT WHEN l.lane IS NULL OR wrapped AND l.lane >= origin;
        looked_at := looked_at + 1;
        here := l.lane || chr(1);
        own := pgbaton.room_of_lane(s, l.tenant, l.account, l.tier, given, at);
        room_in := least(room_in, own.room_in);
        CONTINUE WHEN own.room <= 0;
        -- One turn of each lane before it comes first, so it gets no more than these leave.
        found := pgbaton.waits_in(s, of_calls, l.lane, least(free - in_turn, own.room), at);
        CONTINUE WHEN found = 0;
        IF lanes = '{}' AND l.lane = t.lane AND t.used < own.weight THEN
            begun := t.used;
        END IF;
        in_turn := in_turn + least(found, own.weight - CASE WHEN lanes = '{}' THEN begun ELSE 0 END);
        given := pgbaton.given_to(given, l.tenant, l.account, found);
        lanes := array_append(lanes, l.lane); rates := array_append(rates, own.rate); calls := array_append(calls, 0);
        waits := array_append(waits, found); weights := array_append(weights, own.weight);
    END LOOP;
    WHILE left_over > 0 AND lanes <> '{}' LOOP  -- a turn of each
        found := left_over;
        FOR i IN 1 .. cardinality(lanes) LOOP
            CONTINUE WHEN left_over = 0 OR calls[i] = waits[i];
            used := least(left_over, waits[i] - calls[i], weights[i] - begun);
            calls[i] := calls[i] + used; left_over := left_over - used;
            last := lanes[i]; used := (used + begun) % weights[i];  -- 0: its turn is over
            begun := 0;
        END LOOP;
        EXIT WHEN found = left_over;
    END LOOP;
    IF looked_at = most THEN  -- the next claim goes on from here
        last := l.lane; used := 0;
        room_in := CASE WHEN left_over > 0 THEN 0 ELSE room_in END;
    END IF;
    IF moves AND last IS NOT NULL AND (last, used) IS DISTINCT FROM (t.lane, t.used) THEN
        INSERT INTO pgbaton.turns AS o (pipeline, stage, again, lane, used) VALUES (s.pipeline, s.step, of_calls, last, used)
        ON CONFLICT (pipeline, stage, again) DO UPDATE SET lane = EXCLUDED.lane, used = EXCLUDED.used;
    END IF;
END
$fn$;

-- Calls that wait to be called again and duties take turns, too: where both are there, each gets half of the places.
CREATE OR REPLACE FUNCTION pgbaton.half_of_calls(s pgbaton.stages, free integer) RETURNS integer
LANGUAGE plpgsql
AS $fn$
DECLARE
    goes_first boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM pgbaton.due AS d WHERE d.pipeline = s.pipeline AND d.stage = s.step) THEN
        RETURN free;
    END IF;
    INSERT INTO pgbaton.turns AS o (pipeline, stage, again) VALUES (s.pipeline, s.step, true)
    ON CONFLICT (pipeline, stage, again) DO UPDATE SET odd = NOT o.odd RETURNING o.odd INTO goes_first;
    RETURN (free + goes_first::integer) / 2;
END
$fn$;

-- The calls that may be made now: for each stage how many; by lane where that matters, else lane is null. of_calls: calls that
-- wait to be called again; else duties, from the ids ``since`` on. calling false: duties are only to be named, as they come.
-- moment: the time to go by, for a simulation; null: now. rate, lane_rate: calls a second, which the claim pays for in
-- pgbaton.spent, at the time ``at``. may 0: more waits for the stage; a limit keeps it back, and another claim is worth it in
-- blocked_in seconds, or (null) how_many does. Raises as check_claim().
CREATE OR REPLACE FUNCTION pgbaton.admit(for_pipeline text, for_worker bigint, known text[], entries text[], statuses text[],
                                         since bigint[], how_many integer, calling boolean, of_calls boolean, moment timestamptz)
RETURNS TABLE (stage text, entry text, entry_status text, first_id bigint, lane text, may integer, limited boolean,
               probing boolean, rate float8, lane_rate float8, at timestamptz, blocked_in float8)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    look_again constant float8 := 0.25;  -- seconds until a place that another worker's call frees is looked for
    k record;
    s pgbaton.stages;
    p pgbaton.pools;
    locked text[];
    places jsonb;
    whole record;
    every record;
    turns record;
    lanes text[];
    calls integer[];
    rates float8[];
    left_over integer := how_many;
    free integer;
    granted integer;
BEGIN
    PERFORM pgbaton.check_claim(for_pipeline, for_worker);
    at := coalesce(moment, clock_timestamp());
    IF NOT calling THEN
        RETURN QUERY SELECT n.step, n.entry, n.status, 0::bigint, NULL::text, how_many, false, false,
                            NULL::float8, NULL::float8, at, NULL::float8
                       FROM unnest(known, entries, statuses) AS n (step, entry, status)
                       JOIN pgbaton.stages AS st ON st.pipeline = for_pipeline AND st.step = n.step
                      WHERE how_many > 0
                      ORDER BY st.position DESC;
        RETURN;
    END IF;
    -- Pools first, by name: a stage's lock may be waited for while a pool's is held, and never the other way. Their calls are
    -- counted behind the lock; a stage whose pool is not locked here is left for the next claim.
    IF EXISTS (SELECT FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.pool IS NOT NULL) THEN
        SELECT array_agg(l.name) INTO locked FROM (
            SELECT o.name FROM pgbaton.pools AS o
             WHERE o.name IN (SELECT st.pool FROM pgbaton.stages AS st
                               WHERE st.pipeline = for_pipeline AND st.step = ANY (known) AND st.routed AND CASE WHEN of_calls
                                     THEN EXISTS (SELECT FROM pgbaton.calls AS c
                                                   WHERE c.pipeline = for_pipeline AND c.waits_for = st.step AND c.due_at <= at)
                                     ELSE EXISTS (SELECT FROM pgbaton.due AS d
                                                   WHERE d.pipeline = for_pipeline AND d.stage = st.step) END)
             ORDER BY o.name FOR NO KEY UPDATE) AS l;
        SELECT jsonb_object_agg(o.name, o.size - pgbaton.pool_use(o.name)) INTO places
          FROM pgbaton.pools AS o WHERE o.name = ANY (locked);
    END IF;
    FOR k IN
        SELECT st.step, n.since, st.governed OR st.concurrency IS NOT NULL OR st.strikes > 0 AS locks, sight.*
          FROM unnest(known, entries, statuses, since) AS n (step, entry, status, since)
          JOIN pgbaton.stages AS st ON st.pipeline = for_pipeline AND st.step = n.step AND st.after = n.entry
                                    AND st.status = n.status
          JOIN pgbaton.pipelines AS o ON o.name = st.pipeline
         CROSS JOIN LATERAL (
                SELECT sum(l.waits)::integer AS waits, bool_and(l.ranked) AS ranked,
                       array_agg(pgbaton.lane(l.tenant, l.account)) AS lanes, array_agg(l.tenant) AS tenants,
                       array_agg(l.account) AS accounts, array_agg(l.tier) AS tiers, array_agg(l.waits) AS counts
                  FROM (SELECT w.tenant, w.account, max(w.tier) AS tier, bool_and(w.ranked) AS ranked, count(*)::integer AS waits
                          FROM (SELECT * FROM (SELECT coalesce(d.tenant, '') AS tenant, d.account, d.tier,
                                                      d.rank IS NOT NULL AS ranked
                                                 FROM pgbaton.due AS d
                                                WHERE NOT of_calls AND d.pipeline = for_pipeline AND d.stage = st.step
                                                  AND d.id >= n.since
                                                ORDER BY d.id LIMIT how_many + 1) AS duties
                                UNION ALL
                                SELECT * FROM (SELECT coalesce(c.tenant, ''), c.account, c.tier, true
                                                 FROM pgbaton.calls AS c
                                                WHERE of_calls AND c.pipeline = for_pipeline AND c.waits_for = st.step
                                                  AND c.due_at <= at
                                                ORDER BY c.due_at LIMIT how_many + 1) AS calls) AS w
                         GROUP BY w.tenant, w.account) AS l) AS sight
         WHERE how_many > 0 AND st.routed AND st.paused_at IS NULL AND o.paused_at IS NULL AND sight.waits > 0
         ORDER BY st.position DESC  -- every worker locks them in this order
    LOOP
        IF left_over <= 0 THEN
            stage := k.step; lane := NULL; may := 0; blocked_in := NULL;
            RETURN NEXT;
            EXIT;
        END IF;
        IF k.locks THEN
            SELECT * INTO s FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.step = k.step FOR NO KEY UPDATE;
        ELSE
            SELECT * INTO s FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.step = k.step;
            CONTINUE WHEN s.governed OR s.concurrency IS NOT NULL OR s.strikes > 0;  -- since a moment ago
        END IF;
        at := coalesce(moment, clock_timestamp());
        CONTINUE WHEN s.paused_at IS NOT NULL OR s.open_until > at OR s.pool IS NOT NULL AND (places ? s.pool) IS NOT TRUE;
        stage := s.step; entry := s.after; entry_status := s.status; first_id := k.since;
        limited := s.governed OR s.concurrency IS NOT NULL; probing := s.strikes > 0;
        rate := s.rate; lane_rate := NULL; lane := NULL;
        whole := pgbaton.room_of_stage(s, at);
        blocked_in := coalesce(whole.room_in, look_again);
        free := greatest(0, least(left_over, CASE WHEN probing THEN 1 END, whole.room));
        IF free > 0 AND s.pool IS NOT NULL THEN
            SELECT * INTO p FROM pgbaton.pools AS o WHERE o.name = s.pool;
            IF p.kept_until > at AND p.kept_for <> ARRAY[for_pipeline, s.step] THEN
                free := 0;
            ELSIF (places ->> s.pool)::integer >= s.cost THEN
                free := least(free, (places ->> s.pool)::integer / s.cost);
            ELSE
                free := 0;
                IF s.cost > 1 AND (NOT s.takes_turns OR (pgbaton.take_turns(s, of_calls, 1, false, at)).lanes <> '{}') THEN
                    -- The pool is kept for a call that costs more than is free: else cheaper calls would take each place that
                    -- comes free, and it would wait for ever.
                    UPDATE pgbaton.pools AS o SET kept_for = ARRAY[for_pipeline, s.step], kept_until = at + interval '10 s'
                     WHERE o.name = s.pool;
                END IF;
            END IF;
        END IF;
        IF free > 0 AND s.takes_turns THEN
            IF of_calls THEN
                free := pgbaton.half_of_calls(s, free);
            END IF;
            IF k.ranked AND k.waits <= free THEN
                every := pgbaton.take_all(s, k.lanes, k.tenants, k.accounts, k.tiers, k.counts, at);
                blocked_in := least(blocked_in, every.room_in);
                lanes := k.lanes; calls := every.calls; rates := every.rates;
                IF calls = k.counts AND array_remove(rates, NULL) = '{}' THEN  -- all that is in sight, in any order
                    lanes := ARRAY[NULL::text]; calls := ARRAY[k.waits];
                END IF;
            ELSE
                turns := pgbaton.take_turns(s, of_calls, free, true, at);
                blocked_in := least(blocked_in, turns.room_in);
                lanes := turns.lanes; calls := turns.calls; rates := turns.rates;
            END IF;
        ELSE
            lanes := ARRAY[NULL::text]; calls := ARRAY[least(k.waits, free)]; rates := ARRAY[NULL::float8];
        END IF;
        granted := 0;
        FOR i IN 1 .. cardinality(lanes) LOOP
            CONTINUE WHEN calls[i] = 0;
            granted := granted + calls[i];
            lane := lanes[i]; may := calls[i]; lane_rate := rates[i];
            RETURN NEXT;
        END LOOP;
        IF granted > 0 AND s.pool IS NOT NULL THEN
            places := jsonb_set(places, ARRAY[s.pool], to_jsonb((places ->> s.pool)::integer - granted * s.cost));
            IF p.kept_until IS NOT NULL THEN
                UPDATE pgbaton.pools AS o SET kept_for = NULL, kept_until = NULL WHERE o.name = s.pool;
            END IF;
        END IF;
        left_over := left_over - granted;
        IF granted < k.waits THEN
            lane := NULL; may := 0; blocked_in := CASE WHEN left_over > 0 THEN blocked_in END;
            RETURN NEXT;
        END IF;
    END LOOP;
END
$fn$;

-- Workers wanted: how many calls of each stage should be under way now, and so how many workers a group of them needs. KEDA or a
-- script starts and stops workers by this number, also while no worker runs: it needs none, and no notification.
--
-- It takes none of the locks that a claim takes, and costs the same with a thousand waiting and with a million: at most 10,000
-- duties and 10,000 calls of a stage are counted, and the others are estimated from the ids and the table's statistics.

-- How many of a stage's duties may be called within ``ahead``. Where more than ``counted`` are there, the others are taken to be
-- as the counted ones are; one at least, for a worker must come to put off those that are not to be called yet.
CREATE OR REPLACE FUNCTION pgbaton.duties_of(for_pipeline text, for_stage text, at timestamptz, ahead interval, counted integer)
RETURNS bigint LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    seen bigint;
    ready bigint;
    reached bigint;
    newest bigint;
    rows float8;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE d.not_before IS NULL OR d.not_before <= at + ahead), max(d.id)
      INTO seen, ready, reached
      FROM (SELECT o.id, o.not_before FROM pgbaton.due AS o
             WHERE o.pipeline = for_pipeline AND o.stage = for_stage ORDER BY o.id LIMIT counted) AS d;
    IF seen < counted THEN
        RETURN ready;
    END IF;
    SELECT o.id INTO newest FROM pgbaton.due AS o
     WHERE o.pipeline = for_pipeline AND o.stage = for_stage ORDER BY o.id DESC LIMIT 1;
    SELECT c.reltuples INTO rows FROM pg_class AS c WHERE c.oid = 'pgbaton.due'::regclass;
    RETURN greatest(ready * (1 + greatest(least(newest - reached, rows - seen), 0) / seen), 1)::bigint;
END
$fn$;

-- How many more calls the tenants of a stage may begin, counted up to ``most``. A tenant without a limit counts with all its
-- waiting jobs; a tenant with several provider's accounts counts once for each. 200 lanes are looked at, as by a claim.
CREATE OR REPLACE FUNCTION pgbaton.room_of_lanes(s pgbaton.stages, at timestamptz, most integer) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    of_calls boolean;
    here text;
    l record;
    own record;
    found integer := 0;
BEGIN
    FOREACH of_calls IN ARRAY ARRAY[false, true] LOOP
        here := '';
        FOR steps IN 1 .. 200 LOOP
            l := pgbaton.next_lane(s, of_calls, here);
            EXIT WHEN l.lane IS NULL OR found >= most;
            own := pgbaton.room_of_lane(s, l.tenant, l.account, l.tier, '{}', at);
            found := found + CASE WHEN own.room <= 0 THEN 0 ELSE
                pgbaton.waits_in(s, of_calls, l.lane, least(most - found, own.room), at) END;
            here := l.lane || chr(1);
        END LOOP;
    END LOOP;
    RETURN found;
END
$fn$;

-- For each stage (for_stages null: all): jobs that wait, calls that workers hold, seconds that a call takes, and how many calls
-- should be under way so that the waiting ones begin within ``within`` seconds, as far as limits let them. kept_by: the limit
-- that decides the number. per_worker: calls that a worker makes at once. A last row with stage '' stands for the work of any
-- worker of the pipeline (passages, looks, calls that were lost or are past their time); it asks for one worker where none is
-- alive. No row: the database is a copy, or every number is 0. Raises invalid_parameter_value.
CREATE OR REPLACE FUNCTION pgbaton.calls_wanted(for_pipeline text, for_stages text[], per_worker integer, within float8)
RETURNS TABLE (stage text, waiting bigint, under_way integer, takes float8, calls integer, kept_by text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    counted constant integer := 10000;           -- duties, and calls, of a stage that are counted
    ahead constant interval := '30 s';           -- what is due so soon is counted: a worker may need that long to start
    begins_a_second constant float8 := 1000;     -- calls that one worker begins in a second; 2,700 were measured on two cores
    looked_back constant integer := 1000;        -- attempts that tell how long calls take now
    at constant timestamptz := clock_timestamp();
    p pgbaton.pipelines;
    s pgbaton.stages;
    o pgbaton.pools;
    held jsonb;    -- calls that workers said they hold, by stage
    lately jsonb;  -- mean seconds of the newest attempts, by stage
    taken jsonb := '{}';
    backlog integer;
    room integer;
BEGIN
    SELECT * INTO p FROM pgbaton.pipelines AS n WHERE n.name = for_pipeline;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no pipeline % in this database; there are: %', for_pipeline,
            (SELECT coalesce(string_agg(n.name, ', ' ORDER BY n.name), 'none') FROM pgbaton.pipelines AS n)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'pgbaton attach --config FILE';
    ELSIF per_worker IS NULL OR per_worker < 1 OR within IS NULL OR NOT within BETWEEN 1 AND 86400 THEN
        RAISE EXCEPTION 'a worker makes one call at once at least, and what waits begins within 1 to 86400 seconds (given: %, %)',
            per_worker, within USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR stage IN SELECT n.step FROM unnest(for_stages) AS n (step)
                 EXCEPT SELECT st.step FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.kind = 'call'
    LOOP
        RAISE EXCEPTION 'the pipeline % has no stage %; there are: %', for_pipeline, stage,
            (SELECT string_agg(st.step, ', ' ORDER BY st.position) FROM pgbaton.stages AS st
              WHERE st.pipeline = for_pipeline AND st.kind = 'call') USING ERRCODE = 'invalid_parameter_value';
    END LOOP;
    IF NOT pgbaton.at_home(p) THEN
        RETURN;  -- a copy: no worker of it would claim
    END IF;
    SELECT jsonb_object_agg(n.step, n.calls) INTO held
      FROM (SELECT h.key AS step, sum(h.value::integer) AS calls
              FROM pgbaton.workers AS w CROSS JOIN LATERAL jsonb_each_text(w.under_way) AS h
             WHERE w.pipeline = for_pipeline AND w.ended_at IS NULL GROUP BY h.key) AS n;
    SELECT jsonb_object_agg(n.stage, n.took) INTO lately
      FROM (SELECT h.stage, avg(extract(epoch FROM h.ended_at - h.started_at)) AS took
              FROM (SELECT * FROM pgbaton.history ORDER BY ended_at DESC LIMIT looked_back) AS h
             WHERE h.pipeline = for_pipeline AND h.called GROUP BY h.stage) AS n;
    FOR s IN SELECT * FROM pgbaton.stages AS st
              WHERE st.pipeline = for_pipeline AND st.routed AND st.kind = 'call'
                AND (for_stages IS NULL OR st.step = ANY (for_stages))
              ORDER BY st.position DESC
    LOOP
        stage := s.step;
        under_way := coalesce((held ->> s.step)::integer, 0);
        waiting := pgbaton.duties_of(for_pipeline, s.step, at, ahead, counted)
                 + (SELECT count(*) FROM (SELECT FROM pgbaton.calls AS c
                                           WHERE c.pipeline = for_pipeline AND c.waits_for = s.step AND c.due_at <= at + ahead
                                           LIMIT counted) AS n);
        takes := coalesce((lately ->> s.step)::float8,
            (SELECT t.p50 FROM pgbaton.throughput AS t
              WHERE t.pipeline = for_pipeline AND t.kind = 'all' AND t.hour > at - interval '7 days' AND t.tenant = ''
                AND t.stage = s.step
                AND t.p50 IS NOT NULL ORDER BY t.hour DESC LIMIT 1),
            least(extract(epoch FROM s.timeout), within));  -- nothing has ended yet
        -- A short call keeps its worker busy for longer than itself: a worker begins only so many in a second.
        backlog := least(waiting, ceil(waiting * greatest(takes, per_worker / begins_a_second) / within), 1000000)::integer;
        calls := backlog;
        kept_by := NULL;
        IF p.paused_at IS NOT NULL OR s.paused_at IS NOT NULL THEN
            calls := 0; kept_by := 'paused';
        ELSIF s.strikes > 0 OR s.open_until > at OR s.held_until > at THEN  -- one worker probes whether it may be called again
            calls := least(calls, (under_way = 0)::integer); kept_by := 'down';
        ELSIF backlog > 0 THEN
            IF num_nonnulls(s.concurrency, s.ceiling) > 0 THEN
                room := greatest(0, least(s.concurrency, floor(s.ceiling)::integer) - (
                    SELECT count(*) FROM pgbaton.calls AS c WHERE c.pipeline = for_pipeline AND c.slot = s.step)::integer);
                IF room < calls THEN
                    calls := room; kept_by := 'concurrency';
                END IF;
            END IF;
            IF s.rate IS NOT NULL THEN  -- so many begin in a second, and last for so long
                room := greatest(ceil(least(s.rate * takes, 1000000))::integer, 1) - under_way;
                IF room < calls THEN
                    calls := greatest(room, 0); kept_by := 'rate';
                END IF;
            END IF;
            IF s.takes_turns THEN
                room := pgbaton.room_of_lanes(s, at + ahead, least(calls, counted));
                IF room < least(calls, counted) THEN
                    calls := room; kept_by := 'tenants';
                END IF;
            END IF;
            IF s.pool IS NOT NULL THEN
                SELECT * INTO o FROM pgbaton.pools AS n WHERE n.name = s.pool;
                room := greatest(0, (o.size - pgbaton.pool_use(s.pool) - coalesce((taken ->> s.pool)::integer, 0)) / s.cost);
                IF room < calls THEN
                    calls := room; kept_by := 'pool';
                END IF;
                taken := taken || jsonb_build_object(s.pool, coalesce((taken ->> s.pool)::integer, 0) + calls * s.cost);
            END IF;
        END IF;
        calls := calls + under_way;
        IF waiting > 0 OR calls > 0 THEN
            RETURN NEXT;
        END IF;
    END LOOP;
    stage := ''; waiting := 1; under_way := 0; takes := 0; calls := 1; kept_by := NULL;
    IF NOT EXISTS (SELECT FROM pgbaton.workers AS w
                    WHERE w.pipeline = for_pipeline AND w.ended_at IS NULL AND NOT w.draining AND pgbaton.alive(w))
       AND (EXISTS (SELECT FROM pgbaton.due AS d WHERE d.pipeline = for_pipeline AND d.stage = '')
            OR EXISTS (SELECT FROM pgbaton.stages AS st
                        WHERE st.pipeline = for_pipeline AND st.routed AND st.kind <> 'call'
                          AND (EXISTS (SELECT FROM pgbaton.due AS d WHERE d.pipeline = for_pipeline AND d.stage = st.step)
                               OR EXISTS (SELECT FROM pgbaton.calls AS c
                                           WHERE c.pipeline = for_pipeline AND c.waits_for = st.step AND c.due_at <= at + ahead)))
            OR EXISTS (SELECT FROM pgbaton.calls AS c WHERE c.pipeline = for_pipeline AND c.deadline <= at)
            OR EXISTS (SELECT FROM pgbaton.paused_tenants AS t WHERE t.pipeline = for_pipeline AND t.resumed_at IS NOT NULL))
    THEN
        RETURN NEXT;
    END IF;
END
$fn$;

-- The same as one number: workers of ``per_worker`` calls at once.
CREATE OR REPLACE FUNCTION pgbaton.workers_wanted(for_pipeline text, for_stages text[], per_worker integer,
                                                  within float8) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce(ceil(sum(w.calls)::float8 / per_worker), 0)::integer
      FROM pgbaton.calls_wanted(for_pipeline, for_stages, per_worker, within) AS w
$fn$;

-- The protocol: every function and view of the schema pgbaton, in the order of a dispatch's life.
--
--   1  The duty. A transaction of yours moves a row into a state that a stage follows. The trigger (trigger.sql, installed on
--      your table by `pgbaton attach`) inserts a duty into pgbaton.due, in that transaction, and wakes a worker that sleeps.
--      It reads, locks and changes no row of these tables. Where a row leaves a state in which a dispatch may be open,
--      the trigger leaves a look: a duty without a stage.
--   2  The claim. A worker's turn (worker/turn.sql) takes duties, oldest first, last stage first. The everyday job has one
--      duty, the row where the duty says, and no call but the one that the duty ends: the turn ends that call, makes the duty
--      the job's call and returns it. Every other job is left where it is, and named. Then the worker calls the stage; no
--      transaction is open meanwhile.
--   3  The verdict. What the turn cannot end by itself, the worker looks at (worker/look.sql), decides in Python (outcome.py,
--      which alone knows the rules) and writes (worker/settle.sql), as long as nothing that it saw has changed. An attempt
--      that ended is a row of pgbaton.history. A job that is to be called again waits in pgbaton.calls.
--   4  The lease. A worker that is lost lets it lapse; any worker looks at what the lost one held, and decides by the row.
--   5  Adoption. Rows that were there before their state was routed are left alone or called, as a person says (`pgbaton
--      attach`). In shadow mode the trigger records what would be called. A database that the pipeline was not attached in
--      gives no lease.
--   6  What people see.
--
-- Locks: duties, then the call, then the job's row; a statement that meets a lock skips that job and comes back to it.
-- Times are the database's clock. Names are qualified: the search_path of a session changes nothing here.
-- A function whose parameters or result change gets a new name, so that workers of two versions run side by side.

-- 1. The duty ---------------------------------------------------------------------------------------------------------

-- The JSON event of a change. NOTIFY refuses 8,000 bytes and more, and that would abort the user's transaction: keys are
-- kept in this order as long as the whole still fits.
CREATE OR REPLACE FUNCTION pgbaton.event_payload(job_id text, step text, status text, tenant text, updated_at timestamptz)
RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    pair record;
    kept text := '';
    piece text;
    whole text := json_build_object('job_id', job_id, 'current_step', step, 'status', status,
                                    'tenant_id', tenant, 'updated_at', updated_at)::text;
BEGIN
    IF octet_length(whole) < 8000 THEN
        RETURN whole;
    END IF;
    FOR pair IN
        SELECT * FROM (VALUES ('job_id', to_json(job_id)), ('current_step', to_json(step)), ('status', to_json(status)),
                              ('tenant_id', to_json(tenant)), ('updated_at', to_json(updated_at))) AS v (key, value)
    LOOP
        piece := to_json(pair.key)::text || ' : ' || coalesce(pair.value::text, 'null');
        IF octet_length(kept) + octet_length(piece) + 4 < 8000 THEN
            kept := kept || CASE kept WHEN '' THEN '' ELSE ', ' END || piece;
        END IF;
    END LOOP;
    RETURN '{' || kept || '}';
END
$fn$;

-- A part of a key of several columns, in one spelling under any time zone and date style of a session. They have no SET clause,
-- so that Postgres puts their bodies in the place of the calls.
CREATE OR REPLACE FUNCTION pgbaton.key_part(part anyelement) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $fn$ SELECT part::pg_catalog.text $fn$;
CREATE OR REPLACE FUNCTION pgbaton.key_part(part date) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $fn$ SELECT pg_catalog.to_jsonb(part) OPERATOR(pg_catalog.#>>) '{}' $fn$;
CREATE OR REPLACE FUNCTION pgbaton.key_part(part timestamp) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $fn$ SELECT pg_catalog.to_jsonb(part) OPERATOR(pg_catalog.#>>) '{}' $fn$;
CREATE OR REPLACE FUNCTION pgbaton.key_part(part timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $fn$
    SELECT (pg_catalog.to_jsonb(pg_catalog.timezone('UTC', part)) OPERATOR(pg_catalog.#>>) '{}')
           OPERATOR(pg_catalog.||) CASE WHEN pg_catalog.isfinite(part) THEN 'Z' ELSE '' END
$fn$;

-- 2. The claim --------------------------------------------------------------------------------------------------------

-- Whether a lease holds. Leases that lapsed while Postgres was away get their length once more from its start: a restart
-- must not look like the death of all workers. Without a SET clause Postgres puts the body in the place of the call, which
-- saves each turn 0.03 ms; so its names are qualified.
CREATE OR REPLACE FUNCTION pgbaton.alive(w pgbaton.workers) RETURNS boolean
LANGUAGE sql VOLATILE
AS $fn$
    SELECT w.ended_at IS NULL
       AND greatest(w.expires_at, pg_catalog.pg_postmaster_start_time()
                                  OPERATOR(pg_catalog.+) (w.expires_at OPERATOR(pg_catalog.-) w.renewed_at))
           OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
$fn$;

-- The name of a pipeline's home, as a session remembers it. Without a SET clause, as above.
CREATE OR REPLACE FUNCTION pgbaton.home(p pgbaton.pipelines) RETURNS text
LANGUAGE sql STABLE
AS $fn$ SELECT pg_catalog.concat(p.home_system, '/', p.home_database) $fn$;

-- Raises PB002 in a copy of the pipeline's database, and PB001 where the worker holds no lease: a lease is copied, too. The
-- session remembers in pgbaton.home that it is at home, for it never changes its database: at_home() reads the server's control
-- file, which takes 33 µs, and the setting takes 3. Called where search_path is set: to set it again would cost as much as the
-- rest. A claim that goes by no lanes asks the same itself (granted.sql), and calls this where the answer is no.
CREATE OR REPLACE FUNCTION pgbaton.check_claim(for_pipeline text, for_worker bigint) RETURNS boolean
LANGUAGE plpgsql
AS $fn$
DECLARE
    here text;
    alive boolean;
BEGIN
    SELECT pgbaton.home(p), pgbaton.alive(w) INTO here, alive
      FROM pgbaton.pipelines AS p LEFT JOIN pgbaton.workers AS w ON w.id = for_worker WHERE p.name = for_pipeline;
    IF here IS DISTINCT FROM current_setting('pgbaton.home', true) THEN
        IF NOT (SELECT pgbaton.at_home(p) FROM pgbaton.pipelines AS p WHERE p.name = for_pipeline) THEN
            RAISE EXCEPTION 'the pipeline % was not attached in this database', for_pipeline USING ERRCODE = 'PB002';
        END IF;
        PERFORM set_config('pgbaton.home', here, false);
    END IF;
    IF alive IS NOT TRUE THEN
        RAISE EXCEPTION 'worker % holds no lease', for_worker USING ERRCODE = 'PB001';
    END IF;
    RETURN true;
END
$fn$;

-- How many calls of a stage a claim may begin that has a limit or was found down (struck). Its row is locked until the claim
-- commits, and running calls are counted after that: two workers never count the same free slot. A stage that was found down
-- gets one probe: the statement that claims it closes the circuit to others until the probe is back (15 s at most).
CREATE OR REPLACE FUNCTION pgbaton.room(for_pipeline text, at_step text, struck boolean, how_many integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    s pgbaton.stages;
BEGIN
    SELECT * INTO s FROM pgbaton.stages AS st WHERE st.pipeline = for_pipeline AND st.step = at_step FOR NO KEY UPDATE;
    IF struck THEN
        IF s.open_until > clock_timestamp() THEN  -- another worker's probe is under way since
            RETURN 0;
        END IF;
        how_many := least(how_many, 1);
    END IF;
    IF s.concurrency IS NOT NULL THEN
        how_many := least(how_many, s.concurrency - (
            SELECT count(*) FROM pgbaton.calls AS c WHERE c.pipeline = for_pipeline AND c.slot = at_step));
    END IF;
    RETURN how_many;
END
$fn$;

-- 3. The verdict ------------------------------------------------------------------------------------------------------

-- due_at of a call whose tenant is paused: no claim reads that far.
CREATE OR REPLACE FUNCTION pgbaton.parked() RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $fn$ SELECT timestamptz '9999-01-01 00:00:00+00' $fn$;

-- The stage of a job's last dispatch, where that died because the table refused the row: it would be refused again. It is
-- tried again when the row moves, or a person says so. (attempt 0: the dispatch ended without any call.)
CREATE OR REPLACE FUNCTION pgbaton.refused_stage(for_pipeline text, key text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN h.state = 'dead' AND (h.outcome = 'refused' OR h.attempt = 0) THEN h.stage END
      FROM pgbaton.history AS h
     WHERE h.job_key = key AND h.pipeline = for_pipeline AND h.state IS NOT NULL
     ORDER BY h.id DESC LIMIT 1
$fn$;

CREATE OR REPLACE FUNCTION pgbaton.refused_at(for_pipeline text, key text, at_stage text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$ SELECT coalesce(pgbaton.refused_stage(for_pipeline, key) = at_stage, false) $fn$;

-- 4. The lease --------------------------------------------------------------------------------------------------------

-- A new lease for a worker, in place of ``old`` (null: it has none); ``lease`` is its length in seconds. The worker keeps the
-- attempts that it names, where the old lease still holds them; other calls of the old lease are lost, and are rescued as any
-- lost worker's. A worker that did not hear the answer asks again in the place of the same old lease: the lease that it did
-- not hear of ends as well. Raises PB002 in a copy of the pipeline's database.
CREATE OR REPLACE FUNCTION pgbaton.take_lease(for_pipeline text, old bigint, worker_name text, worker_capacity integer,
                                              lease float8, ids bigint[], attempts integer[], takes text[])
RETURNS TABLE (worker bigint, kept_ids bigint[], kept_attempts integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    fresh bigint;
BEGIN
    IF NOT (SELECT pgbaton.at_home(p) FROM pgbaton.pipelines p WHERE p.name = for_pipeline) THEN
        RAISE EXCEPTION 'the pipeline % was not attached in this database', for_pipeline USING ERRCODE = 'PB002';
    END IF;
    UPDATE pgbaton.workers w SET ended_at = clock_timestamp()
     WHERE (w.id = old OR w.instead_of = old) AND w.name = worker_name AND w.ended_at IS NULL;
    INSERT INTO pgbaton.workers (pipeline, name, capacity, expires_at, instead_of, stages)
    VALUES (for_pipeline, worker_name, worker_capacity, clock_timestamp() + make_interval(secs => lease), old, takes)
    RETURNING id INTO fresh;
    RETURN QUERY
    WITH kept AS (
        UPDATE pgbaton.calls c SET worker = fresh
         WHERE c.pipeline = for_pipeline AND c.attempt = attempts[array_position(ids, c.id)]
           AND c.worker IN (SELECT w.id FROM pgbaton.workers w
                             WHERE (w.id = old OR w.instead_of = old) AND w.name = worker_name)
           AND c.due_at IS NULL AND c.deadline IS NULL
        RETURNING c.id, c.attempt
    )
    SELECT fresh, coalesce(array_agg(k.id), '{}'), coalesce(array_agg(k.attempt), '{}') FROM kept k;
END
$fn$;

-- 5. Adoption ---------------------------------------------------------------------------------------------------------

-- The server's system identifier, which its standbys share and a restored copy does not; null where the role may not ask.
CREATE OR REPLACE FUNCTION pgbaton.this_system() RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    RETURN (SELECT c.system_identifier FROM pg_control_system() AS c);
EXCEPTION WHEN insufficient_privilege OR feature_not_supported THEN
    RETURN NULL;
END
$fn$;

CREATE OR REPLACE FUNCTION pgbaton.this_database() RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$ SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database() $fn$;

-- Whether this is the database that the pipeline was attached in: a copy of it must not call the stages of the original.
CREATE OR REPLACE FUNCTION pgbaton.at_home(p pgbaton.pipelines) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT p.home_database IS NULL
        OR p.home_database = pgbaton.this_database() AND coalesce(p.home_system = pgbaton.this_system(), true)
$fn$;

-- A place from 0 to 100, below 100, for each job key; the same on every server and in every version.
CREATE OR REPLACE FUNCTION pgbaton.share_of(job_key text) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $fn$ SELECT ('x' || left(md5(job_key), 8))::bit(32)::bigint * 100.0::float8 / 4294967296 $fn$;

-- Whether a job is called; where not, the trigger records it in pgbaton.shadow. trigger.sql has the same rule.
CREATE OR REPLACE FUNCTION pgbaton.is_live(for_pipeline text, job_key text, tenant text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce((SELECT pgbaton.share_of(job_key) < (p.rollout ->> 'share')::float8
                         OR coalesce(p.rollout -> 'tenants' ? tenant, false)
                       FROM pgbaton.pipelines AS p WHERE p.name = for_pipeline AND p.rollout IS NOT NULL), true)
$fn$;

-- Whether a row in a routed state that no trigger saw is left alone: it stood there before that was routed, or a walk over the
-- rows of the past has not ended and so may still find that it did.
CREATE OR REPLACE FUNCTION pgbaton.left_alone(for_pipeline text, key text, at_step text, at_status text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT EXISTS (SELECT FROM pgbaton.past AS p
                    WHERE p.pipeline = for_pipeline AND p.job_key = key AND p.step = at_step AND p.status = at_status)
        OR EXISTS (SELECT FROM pgbaton.adoptions AS a WHERE a.pipeline = for_pipeline AND a.ended_at IS NULL)
$fn$;

-- 6. What people see --------------------------------------------------------------------------------------------------

-- An error with ids and numbers taken out: what the same trouble has in common. An HTTP status stays.
CREATE OR REPLACE FUNCTION pgbaton.error_group(error text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT left(regexp_replace(regexp_replace(left(coalesce(error, ''), 500),
                    '\m[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}\M|\m[0-9a-fA-F]{16,}\M', '…', 'g'),
                    '(?<!HTTP )\m[0-9]+([.,:][0-9]+)*', '…', 'g'), 200)
$fn$;

-- An id that no dispatch exceeds which was made before ``moment`` and has ended. Found by halves, so that a search for old
-- dispatches does not read new ones; 1,000 are added, because ids follow the time only nearly.
CREATE OR REPLACE FUNCTION pgbaton.last_ended_before(moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    low bigint;
    high bigint;
    middle bigint;
    seen record;
BEGIN
    SELECT min(id) - 1, max(id) INTO low, high FROM pgbaton.history WHERE state IS NOT NULL;
    WHILE low < high LOOP
        middle := low + (high - low + 1) / 2;
        SELECT id, created_at INTO seen FROM pgbaton.history
         WHERE state IS NOT NULL AND id <= middle AND id > low ORDER BY id DESC LIMIT 1;
        IF NOT FOUND OR seen.created_at < moment THEN
            low := middle;
        ELSE
            high := seen.id - 1;
        END IF;
    END LOOP;
    RETURN low + 1000;
END
$fn$;

-- One row for each time that a job entered a routed state, from the commit that brought it there. A call whose row has
-- passed (stage, done) shows as completed before a worker has come: the duty or look from there says so.
CREATE OR REPLACE VIEW pgbaton.dispatches AS
    SELECT d.id, d.pipeline, d.job_key, d.tenant, d.stage,
           CASE WHEN done.at IS NULL THEN 'available' ELSE 'completed' END AS state,
           0 AS attempt, 0 AS failures, NULL::bigint AS worker, d.created_at AS available_at, NULL::timestamptz AS deadline,
           d.created_at, done.at AS settled_at, NULL::bigint AS run
      FROM pgbaton.due AS d
      LEFT JOIN LATERAL (
            SELECT min(o.created_at) AS at FROM pgbaton.due AS o
             WHERE o.job_key = d.job_key AND o.pipeline = d.pipeline AND o.id > d.id AND o.step = d.stage AND o.status = 'done'
           ) AS done ON true
     WHERE d.stage <> ''
    UNION ALL
    SELECT c.id, c.pipeline, c.job_key, c.tenant, c.stage,
           CASE WHEN done.at IS NOT NULL THEN 'completed' WHEN c.due_at IS NULL THEN 'running'
                WHEN c.attempt = 0 OR c.outcome IN ('lost', 'released') THEN 'available' ELSE 'retryable' END,
           c.attempt, c.failures, CASE WHEN num_nonnulls(done.at, c.due_at, c.deadline) = 0 THEN c.worker END,
           coalesce(c.due_at, c.created_at),
           c.deadline, c.created_at, done.at, c.run
      FROM pgbaton.calls AS c
      LEFT JOIN LATERAL (
            SELECT min(d.created_at) AS at FROM pgbaton.due AS d
             WHERE d.job_key = c.job_key AND d.pipeline = c.pipeline AND d.id > c.id
               AND d.step = c.stage AND d.status = 'done'
           ) AS done ON true
    UNION ALL
    SELECT c.next_id, c.pipeline, c.job_key, c.tenant, c.stage, 'available', 0, 0, NULL, c.next_at, NULL, c.next_at, NULL, NULL
      FROM pgbaton.calls AS c
     WHERE c.next_id IS NOT NULL
    UNION ALL
    SELECT h.id, h.pipeline, h.job_key, h.tenant, h.stage, h.state, h.attempt, h.failures, NULL, h.created_at, NULL,
           h.created_at, h.ended_at, h.run
      FROM pgbaton.history AS h
     WHERE h.state IS NOT NULL;

-- One row for each call of a stage.
CREATE OR REPLACE VIEW pgbaton.attempts AS
    SELECT h.id AS dispatch_id, h.attempt, coalesce(w.name, h.worker::text) AS worker, h.started_at,
           h.ended_at AS finished_at, h.outcome, h.http_status, h.error, h.answer
      FROM pgbaton.history AS h
      LEFT JOIN pgbaton.workers AS w ON w.id = h.worker
     WHERE h.called
    UNION ALL
    SELECT c.id, c.attempt, coalesce(w.name, c.worker::text), c.started_at, done.at,
           CASE WHEN done.at IS NOT NULL THEN 'completed' ELSE c.outcome END, c.http_status, c.error, c.answer
      FROM pgbaton.calls AS c
      LEFT JOIN pgbaton.workers AS w ON w.id = c.worker
      LEFT JOIN LATERAL (
            SELECT min(d.created_at) AS at FROM pgbaton.due AS d
             WHERE d.job_key = c.job_key AND d.pipeline = c.pipeline AND d.id > c.id
               AND d.step = c.stage AND d.status = 'done'
           ) AS done ON true
     WHERE c.due_at IS NULL;

-- The owner grants a role what it needs (docs/deployment.md).
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgbaton FROM PUBLIC;

        $protocol$;
        COMMENT ON SCHEMA pgbaton IS 'pgbaton protocol 5a1d35d353a2261735a49e7281e8701f';
    END IF;
END
$pgbaton$;
COMMIT;

-- Attach pipeline 'ad_creative': its routes as rows, and its triggers on "public"."jobs".
-- Safe to run again: each part changes only what differs.
BEGIN;
SET LOCAL lock_timeout = '3s';
SET LOCAL search_path = pg_catalog, pg_temp;
LOCK TABLE pgbaton.migrations IN SHARE UPDATE EXCLUSIVE MODE;
DO $pgbaton_0$
BEGIN
    -- The trigger's text says which jobs are called: it may not be replaced by one that was written for another share.
    IF (SELECT p.rollout IS DISTINCT FROM NULL::jsonb FROM pgbaton.pipelines AS p WHERE p.name = 'ad_creative') THEN
        RAISE EXCEPTION USING ERRCODE = 'PB003', MESSAGE =
            format('the pipeline %s is in shadow mode, or its share has just changed: run pgbaton attach', 'ad_creative');
    END IF;
END
$pgbaton_0$;
-- Rows that stand in a state that becomes routed now: they are left alone until a person decides about them (`pgbaton attach`).
INSERT INTO pgbaton.adoptions (pipeline, mode)
SELECT 'ad_creative', 'ask'
 WHERE EXISTS (SELECT FROM "public"."jobs" AS j
                WHERE (j."current_step"::text COLLATE "C", j."status"::text COLLATE "C") IN (('img_gen', 'done'), ('vlm_analyze', 'done'), ('yolo_detect', 'done'), ('planner', 'done'), ('overlay', 'done'), ('planner', 'varied'), ('vlm_judge', 'to_review'), ('review', 'waiting'), ('variants', 'waiting'))
                  AND (j."current_step"::text COLLATE "C", j."status"::text COLLATE "C") NOT IN (SELECT s.after, s.status FROM pgbaton.stages AS s
                                                            WHERE s.pipeline = 'ad_creative' AND s.routed)
                  AND NOT EXISTS (SELECT FROM pgbaton.due AS d
                                   WHERE d.job_key = (j."job_id"::pg_catalog.text) COLLATE "C" AND d.pipeline = 'ad_creative')
                  AND NOT EXISTS (SELECT FROM pgbaton.calls AS c
                                   WHERE c.pipeline = 'ad_creative' AND c.job_key = (j."job_id"::pg_catalog.text) COLLATE "C"))
ON CONFLICT (pipeline) DO UPDATE
   SET mode = 'ask', after_key = NULL, looked_at = 0, rows = '{}', started_at = clock_timestamp(), ended_at = NULL;

-- Two pipelines of one table have triggers of different names, and keep them.
DO $pgbaton_0$
DECLARE
    other text;
BEGIN
    SELECT p.name INTO other FROM pgbaton.pipelines AS p
     WHERE p.job_table = '"public"."jobs"'::regclass AND (p.name <> 'ad_creative') = (p.triggers = ARRAY['job_state_change_trigger', 'job_state_insert_trigger']);
    IF other = 'ad_creative' THEN
        RAISE EXCEPTION USING ERRCODE = 'PB003', MESSAGE = format(
            'the pipeline %s has triggers of other names on %s: pgbaton attach keeps them', other, '"public"."jobs"');
    ELSIF other IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PB003', MESSAGE = format(
            'the table %s has the pipeline %s already: pgbaton sql --beside prints the script of one beside it, '
            'and pgbaton attach finds out by itself', '"public"."jobs"', other);
    END IF;
END
$pgbaton_0$;
INSERT INTO pgbaton.pipelines AS p (name, job_table, key_columns, tenant_column, step_column, status_column, statuses,
                                    priority_column, not_before_column, tier_column, channel, parent, parent_key, triggers)
VALUES ('ad_creative', '"public"."jobs"'::regclass, ARRAY['job_id'], 'tenant_id', 'current_step', 'status', '{"running": ["running"], "done": ["done"], "failed": ["failed"], "cancelled": ["cancelled"], "quarantined": ["quarantined"]}'::jsonb,
        NULL, NULL, NULL, 'job_state_changed', NULL, NULL::text[], ARRAY['job_state_change_trigger', 'job_state_insert_trigger'])
ON CONFLICT (name) DO UPDATE
   SET job_table = EXCLUDED.job_table, key_columns = EXCLUDED.key_columns, tenant_column = EXCLUDED.tenant_column,
       step_column = EXCLUDED.step_column, status_column = EXCLUDED.status_column, statuses = EXCLUDED.statuses,
       priority_column = EXCLUDED.priority_column, not_before_column = EXCLUDED.not_before_column,
       tier_column = EXCLUDED.tier_column, channel = EXCLUDED.channel,
       parent = EXCLUDED.parent, parent_key = EXCLUDED.parent_key, triggers = EXCLUDED.triggers, attached_at = now()
 WHERE (p.job_table, p.key_columns, p.tenant_column, p.step_column, p.status_column, p.statuses, p.priority_column,
        p.not_before_column, p.tier_column, p.channel, p.parent, p.parent_key, p.triggers)
       IS DISTINCT FROM (EXCLUDED.job_table, EXCLUDED.key_columns, EXCLUDED.tenant_column, EXCLUDED.step_column,
                         EXCLUDED.status_column, EXCLUDED.statuses, EXCLUDED.priority_column, EXCLUDED.not_before_column,
                         EXCLUDED.tier_column, EXCLUDED.channel, EXCLUDED.parent, EXCLUDED.parent_key, EXCLUDED.triggers);

-- The conditions that the trigger will ask of a row are asked of none: a condition that cannot be asked fails here and not in
-- your transactions.
SELECT true FROM ONLY "public"."jobs" AS new LIMIT 0;

UPDATE pgbaton.pipelines AS p SET known = now.known
  FROM (SELECT jsonb_build_object('table', 'public.jobs', 'columns', jsonb_object_agg(a.attname, a.attnum)) AS known
          FROM pg_attribute AS a
         WHERE a.attrelid = '"public"."jobs"'::regclass AND a.attnum > 0 AND NOT a.attisdropped
           AND a.attname = ANY (ARRAY['job_id', 'current_step', 'status', 'tenant_id'])) AS now
 WHERE p.name = 'ad_creative' AND p.known IS DISTINCT FROM now.known;

-- Routes that go or change step aside first: one state has one route at any moment.
UPDATE pgbaton.stages SET routed = false
 WHERE pipeline = 'ad_creative' AND routed
   AND NOT EXISTS (SELECT FROM (VALUES ('vlm_analyze', 'img_gen', 'done', NULL), ('yolo_detect', 'vlm_analyze', 'done', NULL), ('planner', 'yolo_detect', 'done', NULL), ('overlay', 'planner', 'done', NULL), ('vlm_judge', 'overlay', 'done', NULL), ('planner.varied', 'planner', 'varied', NULL), ('vlm_judge.to_review', 'vlm_judge', 'to_review', NULL), ('review', 'review', 'waiting', NULL), ('variants', 'variants', 'waiting', NULL)) AS r (step, after, status, condition)
                    WHERE (r.step, r.after, r.status) = (stages.step, stages.after, stages.status)
                      AND r.condition IS NOT DISTINCT FROM stages.condition);
INSERT INTO pgbaton.pools AS p (name, attached) VALUES ('vision', 8)
ON CONFLICT (name) DO UPDATE SET attached = EXCLUDED.attached WHERE p.attached <> EXCLUDED.attached;
DELETE FROM pgbaton.tiers WHERE pipeline = 'ad_creative' AND tier NOT IN ('');
INSERT INTO pgbaton.stages AS s (pipeline, step, after, status, condition, kind, detail, position, timeout,
                                attempts, advance, attached, takes_turns)
VALUES ('ad_creative', 'vlm_analyze', 'img_gen', 'done', NULL, 'call', NULL::jsonb, 1, interval '600.000000 s', 5, 'stage', '{"concurrency": 8, "per_tenant": 4, "pool": "vision", "cost": 1}'::jsonb, true),
       ('ad_creative', 'yolo_detect', 'vlm_analyze', 'done', NULL, 'call', NULL::jsonb, 2, interval '600.000000 s', 5, 'stage', '{"concurrency": 8}'::jsonb, true),
       ('ad_creative', 'planner', 'yolo_detect', 'done', NULL, 'call', NULL::jsonb, 3, interval '300.000000 s', 5, 'stage', '{"concurrency": 8}'::jsonb, true),
       ('ad_creative', 'overlay', 'planner', 'done', NULL, 'call', NULL::jsonb, 4, interval '300.000000 s', 5, 'stage', '{"concurrency": 8}'::jsonb, true),
       ('ad_creative', 'planner.varied', 'planner', 'varied', NULL, 'move', '{"to": ["variants", "waiting"], "need": "all", "failed": "fail", "choices": []}'::jsonb, 5, interval '3162240000.000000 s', 1, 'stage', '{}'::jsonb, false),
       ('ad_creative', 'vlm_judge', 'overlay', 'done', NULL, 'call', NULL::jsonb, 6, interval '600.000000 s', 5, 'stage', '{"concurrency": 8, "per_tenant": 4, "pool": "vision", "cost": 1}'::jsonb, true),
       ('ad_creative', 'variants', 'variants', 'waiting', NULL, 'gather', '{"to": ["overlay", "done"], "then": ["vlm_judge", "given_up"], "children": "ad_variants", "done": ["vlm_judge", "done"], "need": "all", "failed": "ignore", "choices": []}'::jsonb, 7, interval '7200.000000 s', 1, 'stage', '{}'::jsonb, false),
       ('ad_creative', 'vlm_judge.to_review', 'vlm_judge', 'to_review', NULL, 'move', '{"to": ["review", "waiting"], "need": "all", "failed": "fail", "choices": []}'::jsonb, 8, interval '3162240000.000000 s', 1, 'stage', '{}'::jsonb, false),
       ('ad_creative', 'review', 'review', 'waiting', NULL, 'wait', '{"then": ["review", "expired"], "need": "all", "failed": "fail", "choices": [["approve", ["review", "approved"]], ["reject", ["review", "rejected"]]]}'::jsonb, 9, interval '604800.000000 s', 1, 'stage', '{}'::jsonb, false)
ON CONFLICT (pipeline, step) DO UPDATE
   SET after = EXCLUDED.after, status = EXCLUDED.status, condition = EXCLUDED.condition, kind = EXCLUDED.kind,
       detail = EXCLUDED.detail, position = EXCLUDED.position, timeout = EXCLUDED.timeout, attempts = EXCLUDED.attempts,
       advance = EXCLUDED.advance, routed = true, attached = EXCLUDED.attached, takes_turns = EXCLUDED.takes_turns
 WHERE (s.after, s.status, s.condition, s.kind, s.detail, s.position, s.timeout, s.attempts, s.advance, s.routed, s.attached,
        s.takes_turns)
       IS DISTINCT FROM (EXCLUDED.after, EXCLUDED.status, EXCLUDED.condition, EXCLUDED.kind, EXCLUDED.detail,
                         EXCLUDED.position, EXCLUDED.timeout, EXCLUDED.attempts, EXCLUDED.advance, true, EXCLUDED.attached,
                         EXCLUDED.takes_turns);
UPDATE pgbaton.pipelines AS p SET home_system = pgbaton.this_system(), home_database = pgbaton.this_database()
 WHERE p.name = 'ad_creative' AND (p.home_database IS NULL OR false AND NOT pgbaton.at_home(p));
UPDATE pgbaton.pipelines AS p SET rollout = NULL::jsonb
 WHERE p.name = 'ad_creative' AND p.rollout IS DISTINCT FROM NULL::jsonb;

DO $pgbaton_0$
DECLARE
    ours constant oid := to_regprocedure('"public"."notify_job_state_change"()');
    job_table constant regclass := '"public"."jobs"';
    t record;
    before regprocedure;
BEGIN
    IF NOT has_function_privilege('pgbaton.event_payload(text, text, text, text, timestamptz)', 'EXECUTE')
       OR NOT has_table_privilege('pgbaton.due', 'INSERT')
    THEN
        RAISE insufficient_privilege USING MESSAGE =
            format('the role %s may not use the schema pgbaton, and the trigger runs with its rights', current_user);
    END IF;
    -- A function or trigger of that name that is not the engine's is not replaced.
    IF ours IS NOT NULL AND (SELECT prosrc NOT LIKE '%pgbaton.%' AND prosrc NOT LIKE '%job_state_changed%'
                               FROM pg_proc WHERE oid = ours) THEN
        RAISE duplicate_object USING MESSAGE = format('the function %s is not pgbaton''s: rename it', '"public"."notify_job_state_change"()');
    END IF;
    -- (After the table was renamed it still has the engine's function of its old name.)
    SELECT g.tgname INTO t FROM pg_trigger AS g JOIN pg_proc AS f ON f.oid = g.tgfoid
     WHERE g.tgrelid = job_table AND g.tgname = ANY (ARRAY['job_state_change_trigger', 'job_state_insert_trigger'])
       AND g.tgfoid IS DISTINCT FROM ours AND f.prosrc NOT LIKE '%INSERT INTO pgbaton.due%';
    IF FOUND THEN
        RAISE duplicate_object USING MESSAGE = format('the trigger %s on %s is not pgbaton''s: rename it, or drop it',
                                                      t.tgname, '"public"."jobs"');
    END IF;
    -- A table that was renamed still calls the function of its old name, and would leave this pipeline's duties.
    SELECT g.tgname, g.tgrelid::regclass AS at INTO t FROM pg_trigger AS g
     WHERE g.tgfoid = ours AND g.tgrelid <> job_table AND g.tgparentid = 0;
    IF FOUND THEN
        RAISE duplicate_object USING MESSAGE = format(
            'the function %s is called by the trigger %s on %s: give that table''s pipeline its new name, and run pgbaton attach '
            'for it, or pgbaton detach', '"public"."notify_job_state_change"()', t.tgname, t.at);
    END IF;
    IF (SELECT md5(prosrc) = '6aed5b15eb1060446cc3a224bd327142' AND prosecdef AND proconfig IS NULL FROM pg_proc WHERE oid = ours) IS NOT TRUE THEN
        -- Behind this lock no transaction is left that fires the old function: duties that it leaves have no rank (see the end).
        IF true THEN
            LOCK TABLE "public"."jobs" IN SHARE ROW EXCLUSIVE MODE;
        END IF;
        EXECUTE $ddl_0$
CREATE OR REPLACE FUNCTION "public"."notify_job_state_change"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $fn_0$
-- All of pgbaton that runs in your transaction: at most one INSERT, and a signal where a worker sleeps. Rendered by `pgbaton
-- attach` for one pipeline: its routes stand in the text. It runs with its owner's rights, so that a role which may change
-- its jobs needs no right on the schema pgbaton; it has no search_path of its own, which would cost each row more than
-- the rest together, so every name is qualified, operators too.
DECLARE
    key pg_catalog.text;
    step pg_catalog.text;
    status pg_catalog.text;
    tenant pg_catalog.text;
    next_stage pg_catalog.text;
    same pg_catalog.bool;
    quiet pg_catalog.bool;
    word pg_catalog.text;
    changed_at pg_catalog.timestamptz;

    rank pg_catalog.timestamptz;BEGIN BEGIN  -- the inner block writes nothing, and takes no transaction id
    -- No WHEN clause tells this before the call: Postgres reads such a clause again for each statement, which cost a writer
    -- 20 microseconds, and the call costs it 5. Each session prepares an expression anew in each transaction, which costs a
    -- row half a microsecond: so states that no route knows come first, alone, and there are as few expressions as can be. At
    -- an INSERT all of OLD is null, and neither of the first two is true.
    IF false THEN
        RETURN NULL;
    END IF;
    IF (NEW."status"::pg_catalog.text OPERATOR(pg_catalog.=) OLD."status"::pg_catalog.text COLLATE pg_catalog."C" OR NEW."status"::pg_catalog.text IS NULL AND OLD."status"::pg_catalog.text COLLATE pg_catalog."C" IS NULL) AND (NEW."current_step"::pg_catalog.text OPERATOR(pg_catalog.=) OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OR NEW."current_step"::pg_catalog.text IS NULL AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" IS NULL) AND (NEW."job_id"::pg_catalog.text OPERATOR(pg_catalog.=) OLD."job_id"::pg_catalog.text COLLATE pg_catalog."C" OR NEW."job_id"::pg_catalog.text IS NULL AND OLD."job_id"::pg_catalog.text COLLATE pg_catalog."C" IS NULL) THEN
        RETURN NULL;
    END IF;
    status := NEW."status"::pg_catalog.text;
    step := NEW."current_step"::pg_catalog.text;
    next_stage := CASE WHEN status OPERATOR(pg_catalog.=) ANY (ARRAY['done', 'varied', 'waiting', 'to_review']) THEN CASE WHEN step OPERATOR(pg_catalog.=) 'img_gen' AND status OPERATOR(pg_catalog.=) 'done' THEN 'vlm_analyze' WHEN step OPERATOR(pg_catalog.=) 'vlm_analyze' AND status OPERATOR(pg_catalog.=) 'done' THEN 'yolo_detect' WHEN step OPERATOR(pg_catalog.=) 'yolo_detect' AND status OPERATOR(pg_catalog.=) 'done' THEN 'planner' WHEN step OPERATOR(pg_catalog.=) 'planner' AND status OPERATOR(pg_catalog.=) 'done' THEN 'overlay' WHEN step OPERATOR(pg_catalog.=) 'planner' AND status OPERATOR(pg_catalog.=) 'varied' THEN 'planner.varied' WHEN step OPERATOR(pg_catalog.=) 'overlay' AND status OPERATOR(pg_catalog.=) 'done' THEN 'vlm_judge' WHEN step OPERATOR(pg_catalog.=) 'variants' AND status OPERATOR(pg_catalog.=) 'waiting' THEN 'variants' WHEN step OPERATOR(pg_catalog.=) 'vlm_judge' AND status OPERATOR(pg_catalog.=) 'to_review' THEN 'vlm_judge.to_review' WHEN step OPERATOR(pg_catalog.=) 'review' AND status OPERATOR(pg_catalog.=) 'waiting' THEN 'review' END END;
    IF next_stage IS NULL THEN
        -- A dispatch may be open where the row was at the entry of a stage, or in its hands. A stage that begins, or begins
        -- again, leaves no look; every other move does.
        IF ((OLD."status"::pg_catalog.text COLLATE pg_catalog."C") OPERATOR(pg_catalog.=) 'done' AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) ANY (ARRAY['img_gen', 'vlm_analyze', 'yolo_detect', 'planner', 'overlay']) AND (status OPERATOR(pg_catalog.=) 'running' AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) CASE WHEN step OPERATOR(pg_catalog.=) 'vlm_analyze' THEN 'img_gen' WHEN step OPERATOR(pg_catalog.=) 'yolo_detect' THEN 'vlm_analyze' WHEN step OPERATOR(pg_catalog.=) 'planner' THEN 'yolo_detect' WHEN step OPERATOR(pg_catalog.=) 'overlay' THEN 'planner' WHEN step OPERATOR(pg_catalog.=) 'vlm_judge' THEN 'overlay' END) IS NOT TRUE
           OR (OLD."status"::pg_catalog.text COLLATE pg_catalog."C") OPERATOR(pg_catalog.=) 'varied' AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) 'planner'
           OR (OLD."status"::pg_catalog.text COLLATE pg_catalog."C") OPERATOR(pg_catalog.=) 'waiting' AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) ANY (ARRAY['variants', 'review'])
           OR (OLD."status"::pg_catalog.text COLLATE pg_catalog."C") OPERATOR(pg_catalog.=) 'to_review' AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) 'vlm_judge'
            OR OLD."status"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) ANY (ARRAY['running', 'failed'])
                AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) ANY (ARRAY['vlm_analyze', 'yolo_detect', 'planner', 'overlay', 'vlm_judge'])
                AND (status OPERATOR(pg_catalog.=) 'running' AND step OPERATOR(pg_catalog.=) OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C")
                    IS NOT TRUE)
        THEN
            next_stage := '';
        END IF;
    END IF;
    key := NEW."job_id"::pg_catalog.text;
    -- The constant is read once for each session, and again after the table was dropped; a look each time cost a row 0.8
    -- microseconds.
    IF (pg_catalog.pg_column_size(NEW."job_id") OPERATOR(pg_catalog.<=) 2640) IS NOT TRUE OR 'pgbaton.due'::pg_catalog.regclass IS NULL THEN
        IF key IS NULL THEN
            RETURN NULL;
        END IF;
        -- The user's own index on the key holds a little more than ours, which may not make this transaction fail.
        RAISE WARNING 'pgbaton leaves a job alone whose key is too long for an index: %', pg_catalog.left(key, 60);
        RETURN NULL;
    END IF;
    tenant := NEW."tenant_id"::pg_catalog.text;
    rank := pg_catalog.clock_timestamp();
    word := NEW."status"::pg_catalog.text;
    IF TG_NARGS OPERATOR(pg_catalog.>) 0 THEN
        changed_at := NEW.updated_at;
    END IF;
EXCEPTION WHEN undefined_table OR invalid_schema_name THEN  -- a dump of this table alone was restored
    RETURN NULL;
WHEN undefined_column OR undefined_function THEN
    -- A column was renamed or dropped. That is no reason for this transaction to fail, and `pgbaton doctor` tells of it. The
    -- block costs 0.3 microseconds a row.
    IF pg_catalog.current_setting('pgbaton.blind', true) OPERATOR(pg_catalog.=) 'told' IS NOT TRUE THEN
        PERFORM pg_catalog.set_config('pgbaton.blind', 'told', true);
        RAISE WARNING 'pgbaton does not see this change: %. Run pgbaton attach', SQLERRM;
    END IF;
    RETURN NULL;
WHEN datatype_mismatch THEN
    -- A column has got another type since this session planned the expressions above; text that is executed is planned anew.
    IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
        EXECUTE 'SELECT (NEW."status"::pg_catalog.text OPERATOR(pg_catalog.=) OLD."status"::pg_catalog.text COLLATE pg_catalog."C" OR NEW."status"::pg_catalog.text IS NULL AND OLD."status"::pg_catalog.text COLLATE pg_catalog."C" IS NULL) AND (NEW."current_step"::pg_catalog.text OPERATOR(pg_catalog.=) OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OR NEW."current_step"::pg_catalog.text IS NULL AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" IS NULL) AND (NEW."job_id"::pg_catalog.text OPERATOR(pg_catalog.=) OLD."job_id"::pg_catalog.text COLLATE pg_catalog."C" OR NEW."job_id"::pg_catalog.text IS NULL AND OLD."job_id"::pg_catalog.text COLLATE pg_catalog."C" IS NULL) FROM (SELECT ($1).*) AS new, (SELECT ($2).*) AS old' INTO same USING NEW, OLD;
        IF same THEN
            RETURN NULL;
        END IF;
    END IF;
    EXECUTE 'SELECT NEW."job_id"::pg_catalog.text, NEW."current_step"::pg_catalog.text, NEW."status"::pg_catalog.text, NEW."tenant_id"::pg_catalog.text, NEW."status"::pg_catalog.text FROM (SELECT ($1).*) AS new' INTO key, step, status, tenant, word USING NEW;
    IF key IS NULL OR pg_catalog.octet_length(key) OPERATOR(pg_catalog.>) 2640 THEN
        RETURN NULL;
    END IF;
    next_stage := '';
    IF status OPERATOR(pg_catalog.=) ANY (ARRAY['done', 'varied', 'waiting', 'to_review']) THEN
        next_stage := coalesce(CASE WHEN step OPERATOR(pg_catalog.=) 'img_gen' AND status OPERATOR(pg_catalog.=) 'done' THEN 'vlm_analyze' WHEN step OPERATOR(pg_catalog.=) 'vlm_analyze' AND status OPERATOR(pg_catalog.=) 'done' THEN 'yolo_detect' WHEN step OPERATOR(pg_catalog.=) 'yolo_detect' AND status OPERATOR(pg_catalog.=) 'done' THEN 'planner' WHEN step OPERATOR(pg_catalog.=) 'planner' AND status OPERATOR(pg_catalog.=) 'done' THEN 'overlay' WHEN step OPERATOR(pg_catalog.=) 'planner' AND status OPERATOR(pg_catalog.=) 'varied' THEN 'planner.varied' WHEN step OPERATOR(pg_catalog.=) 'overlay' AND status OPERATOR(pg_catalog.=) 'done' THEN 'vlm_judge' WHEN step OPERATOR(pg_catalog.=) 'variants' AND status OPERATOR(pg_catalog.=) 'waiting' THEN 'variants' WHEN step OPERATOR(pg_catalog.=) 'vlm_judge' AND status OPERATOR(pg_catalog.=) 'to_review' THEN 'vlm_judge.to_review' WHEN step OPERATOR(pg_catalog.=) 'review' AND status OPERATOR(pg_catalog.=) 'waiting' THEN 'review' END, '');
    END IF;
END;
    -- A worker that rewinds rows names them in pgbaton.quiet, each with the state that it writes: these rows, and no others,
    -- leave no duty.
    IF pg_catalog.current_setting('pgbaton.quiet', true) OPERATOR(pg_catalog.<>) '' THEN
        quiet := pg_catalog.current_setting('pgbaton.quiet')::pg_catalog.jsonb OPERATOR(pg_catalog.->) 'ad_creative'
                 OPERATOR(pg_catalog.->) key OPERATOR(pg_catalog.=) pg_catalog.jsonb_build_array(step, status);
    END IF;
    IF next_stage IS NOT NULL AND quiet IS NOT TRUE THEN
        INSERT INTO pgbaton.due (pipeline, stage, job_key, tenant, step, status, rank)
        VALUES ('ad_creative', next_stage, key, tenant, step, status, CASE WHEN next_stage OPERATOR(pg_catalog.=) ANY (ARRAY['vlm_analyze', 'yolo_detect', 'planner', 'overlay', 'vlm_judge']) THEN COALESCE(rank, pg_catalog.clock_timestamp()) END);
    END IF;
    -- Every change is published on the channel, and workers listen there.
    IF pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.9 THEN
        PERFORM pg_catalog.pg_notify('job_state_changed', pgbaton.event_payload(key, step, word, tenant, changed_at));
    END IF;
    RETURN NULL;
END
$fn_0$
        $ddl_0$;
        REVOKE ALL ON FUNCTION "public"."notify_job_state_change"() FROM PUBLIC;
    END IF;

    SELECT g.tgfoid INTO before FROM pg_trigger AS g
     WHERE g.tgrelid = job_table AND g.tgname = 'job_state_insert_trigger' AND g.tgfoid IS DISTINCT FROM '"public"."notify_job_state_change"()'::regprocedure;
    FOR t IN
-- The triggers of a pipeline: as attach makes them, whether there is one of that name, and whether it is the same.
            SELECT w.name, w.definition,
                   EXISTS (SELECT FROM pg_trigger AS g
                            WHERE g.tgrelid = '"public"."jobs"'::regclass AND g.tgname = w.name) AS there,
                   EXISTS (SELECT FROM pg_trigger AS g
                            WHERE g.tgrelid = '"public"."jobs"'::regclass AND g.tgname = w.name
                              AND g.tgfoid = to_regprocedure('"public"."notify_job_state_change"()')
                              AND g.tgtype = w.type AND g.tgenabled IN ('O', 'A') AND g.tgattr = ''
                              AND g.tgqual IS NULL
                              AND obj_description(g.oid, 'pg_trigger') = 'pgbaton ' || md5(w.definition)) AS same
              FROM (SELECT v.name, v.type, format('%s(%s)', v.definition, coalesce((
                           -- updated_at is published where the column exists; its name is handed to the trigger.
                           SELECT quote_literal(a.attname) FROM pg_attribute AS a
                            WHERE a.attrelid = '"public"."jobs"'::regclass AND a.attname = 'updated_at'
                              AND NOT a.attisdropped
                              AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)), '')) AS definition
                      FROM (VALUES
                            ('job_state_change_trigger', 17, $ddl_0$AFTER UPDATE ON "public"."jobs" FOR EACH ROW
                EXECUTE FUNCTION "public"."notify_job_state_change"$ddl_0$),
                            ('job_state_insert_trigger', 5, $ddl_0$AFTER INSERT ON "public"."jobs" FOR EACH ROW
                EXECUTE FUNCTION "public"."notify_job_state_change"$ddl_0$)) AS v (name, type, definition)) AS w

    LOOP
        IF NOT t.same THEN
            EXECUTE format('CREATE OR REPLACE TRIGGER %I %s', t.name, t.definition);
            EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %I', '"public"."jobs"', t.name);
            EXECUTE format('COMMENT ON TRIGGER %I ON %s IS %L', t.name, '"public"."jobs"', 'pgbaton ' || md5(t.definition));
        END IF;
    END LOOP;
    IF before IS NOT NULL THEN
        EXECUTE format('DROP FUNCTION %s', before);
    END IF;
END
$pgbaton_0$;
COMMIT;

-- Duties from before these stages took turns.
UPDATE pgbaton.due SET rank = created_at WHERE pipeline = 'ad_creative' AND stage IN ('vlm_analyze', 'yolo_detect', 'planner', 'overlay', 'vlm_judge')
   AND rank IS NULL AND not_before IS NULL;
