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
