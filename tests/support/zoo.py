"""Tables as they are in the world, as data: each goes the whole way, or is refused with a sentence."""

from __future__ import annotations

from support.shapes import PLAIN, Shape

OTHER = {"running": "processing", "done": "completed", "failed": "error", "cancelled": "stopped"}
NUMBERS = {"running": "2", "done": "3", "failed": "-1", "cancelled": "9"}
NO_CANCEL = {name: word for name, word in PLAIN.items() if name != "cancelled"}
NO_TENANT = {"tenant": None}


def columns(
    key: str = "job_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", status: str = "text", **more: str
) -> str:
    step, tail = more.get("step", "text"), more.get("tail", "")
    return f"({key}, tenant_id text DEFAULT 'acme', current_step {step}, status {status}, note text {tail})"


def table(*arguments: str, **more: str) -> str:
    return f"CREATE TABLE jobs {columns(*arguments, **more)};"


def enum(*labels: str) -> str:
    return f"CREATE TYPE word AS ENUM ({', '.join(map(repr, labels))});"


PAIR = "json_build_array(tenant_id, id::text)::text"
STAMPED = "json_build_array(id::text, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))::text"
UUID = "job_id uuid PRIMARY KEY DEFAULT gen_random_uuid()"
CODE = {"statuses": {name: int(word) for name, word in NUMBERS.items()}}

ZOO: dict[str, Shape] = {
    # statuses
    "text": Shape(table()),
    "an enum of the plain words": Shape(
        enum("new", "running", "done", "failed") + table(status="word"), words=NO_CANCEL
    ),
    "an enum of other words": Shape(enum(*OTHER.values()) + table(status="word"), {"statuses": OTHER}, OTHER),
    "an enum for the step": Shape(enum("made", "cut", "glue") + table(step="word")),
    "varchar(8), as Django makes it": Shape(table(UUID, status="varchar(8)"), words=NO_CANCEL),
    "char(10), padded": Shape(table(status="char(10)", step="char(6)")),
    "a domain with a CHECK": Shape(
        "CREATE DOMAIN word AS text CHECK (VALUE IN ('running', 'done', 'failed', 'cancelled'));" + table(status="word")
    ),
    "numbers": Shape(table(status="smallint"), CODE, NUMBERS),
    "a domain of numbers": Shape(
        "CREATE DOMAIN code AS integer CHECK (VALUE BETWEEN -1 AND 9);" + table(status="code"), CODE, NUMBERS
    ),
    "several words of one meaning": Shape(
        table(), {"statuses": {name: [word, name.upper()] for name, word in OTHER.items()}}, OTHER
    ),
    "a CHECK of both columns": Shape(
        table(
            tail=", CHECK (status <> 'running' OR current_step IS NOT NULL), CHECK (current_step IN ('made', 'cut', 'glue'))"
        )
    ),
    "a foreign key on the status": Shape(
        "CREATE TABLE words (word text PRIMARY KEY); INSERT INTO words VALUES ('running'), ('done'), ('failed');"
        + table(status="text REFERENCES words"),
        words=NO_CANCEL,
    ),
    "a collation of its own": Shape(table(status='text COLLATE "POSIX"', step='text COLLATE "POSIX"')),
    # keys
    "uuid": Shape(table(UUID)),
    "text with everything in it": Shape(table("job_id text PRIMARY KEY DEFAULT E'a\\n\"''\\\\ㄱ😀../%' || random()")),
    "numeric": Shape(table("job_id numeric PRIMARY KEY DEFAULT round(random()::numeric, 6)")),
    "a unique index and another primary key": Shape(
        table("id serial PRIMARY KEY, job_id uuid UNIQUE DEFAULT gen_random_uuid()")
    ),
    "a deferrable primary key": Shape(
        table("job_id uuid DEFAULT gen_random_uuid()", tail=", PRIMARY KEY (job_id) DEFERRABLE INITIALLY DEFERRED")
    ),
    "tenant and id": Shape(
        table("id bigint GENERATED ALWAYS AS IDENTITY", tail=", PRIMARY KEY (tenant_id, id)"),
        {"key": ["tenant_id", "id"]},
        key=PAIR,
    ),
    # partitions and kinds of tables
    "partitioned by hash": Shape(
        f"CREATE TABLE jobs {columns(UUID)} PARTITION BY HASH (job_id);"
        "CREATE TABLE jobs_0 PARTITION OF jobs FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE jobs_1 PARTITION OF jobs FOR VALUES WITH (MODULUS 2, REMAINDER 1)"
    ),
    "partitioned by month": Shape(
        "CREATE TABLE jobs "
        + columns(
            "id uuid DEFAULT gen_random_uuid(), created_at timestamptz DEFAULT '2026-11-05 01:02:03+09'",
            tail=", PRIMARY KEY (id, created_at)",
        )
        + " PARTITION BY RANGE (created_at);"
        "CREATE TABLE jobs_11 PARTITION OF jobs FOR VALUES FROM ('2026-11-01') TO ('2026-12-01')",
        {"key": ["id", "created_at"]},
        key=STAMPED,
    ),
    "partitioned by tenant": Shape(
        "CREATE TABLE jobs "
        + columns("id uuid DEFAULT gen_random_uuid()", tail=", PRIMARY KEY (id, tenant_id)")
        + " PARTITION BY LIST (tenant_id); CREATE TABLE jobs_acme PARTITION OF jobs FOR VALUES IN ('acme')",
        {"key": ["tenant_id", "id"]},
        key=PAIR,
    ),
    "unlogged": Shape(table().replace("TABLE", "UNLOGGED TABLE")),
    "a child of another table": Shape(
        "CREATE TABLE base (note text); CREATE TABLE jobs " + columns().replace(", note text ", "") + " INHERITS (base)"
    ),
    # names
    "mixed case, another schema": Shape(
        'CREATE SCHEMA "App"; CREATE TABLE "App"."RenderJobs" '
        '("Id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), "Step" text, "State" text)',
        {"table": "App.RenderJobs", "key": "Id", "step": "Step", "status": "State", **NO_TENANT},
        table='"App"."RenderJobs"',
        step='"Step"',
        status='"State"',
        key='"Id"::text',
    ),
    "words of SQL": Shape(
        'CREATE TABLE "order" ("select" serial PRIMARY KEY, "from" text, "where" text)',
        {"table": "order", "key": "select", "step": "from", "status": "where", **NO_TENANT},
        table='"order"',
        step='"from"',
        status='"where"',
        key='"select"::text',
    ),
    "한글": Shape(
        "CREATE TABLE 주문 (번호 serial PRIMARY KEY, 단계 text, 상태 text)",
        {"table": "주문", "key": "번호", "step": "단계", "status": "상태", **NO_TENANT},
        table="주문",
        step="단계",
        status="상태",
        key="번호::text",
    ),
    "names of the engine's own": Shape(
        "CREATE TABLE due (key serial PRIMARY KEY, step text, status text, tenant text DEFAULT 'acme', quiet text)",
        {"table": "due", "key": "key", "step": "step", "status": "status", "tenant": "tenant"},
        table="due",
        step="step",
        key="key::text",
    ),
    # what else happens to a row
    "updated_at without a time zone": Shape(table(tail=", updated_at timestamp NOT NULL DEFAULT now()")),
    "updated_at that is a text": Shape(table(tail=", updated_at text")),
    "a BEFORE trigger that writes another column": Shape(
        table()
        + "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := now(); RETURN NEW; END $$;"
        "CREATE TRIGGER touch BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION touch()"
    ),
    "a column that is generated from the status": Shape(
        table(tail=", is_done boolean GENERATED ALWAYS AS (status = 'done') STORED")
    ),
    "a log of its changes": Shape(
        table() + "CREATE TABLE log (at text); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO log VALUES (NEW.status); RETURN NULL; END $$;"
        "CREATE TRIGGER note AFTER INSERT OR UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION note()"
    ),
}

REFUSED: dict[str, tuple[Shape, str]] = {
    "a view": (Shape("CREATE TABLE t " + columns() + "; CREATE VIEW jobs AS SELECT * FROM t"), "is a view"),
    "a materialized view": (
        Shape("CREATE TABLE t " + columns() + "; CREATE MATERIALIZED VIEW jobs AS SELECT * FROM t"),
        "is a materialized view",
    ),
    "a boolean": (Shape(table(status="boolean")), "which cannot hold 'running'; a column of text beside it can"),
    "a number without words": (Shape(table(status="integer")), "pipeline.statuses names them"),
    "a timestamp": (Shape(table(status="timestamptz")), "has the type timestamp with time zone, which cannot hold"),
    "a timestamp without a time zone": (
        Shape(table(status="timestamp")),
        "a trigger of the table's own: examples/timestamps",
    ),
    "JSON": (Shape(table(status="jsonb")), "has the type jsonb, which cannot hold 'running'"),
    "an enum without a word": (Shape(enum("running", "done") + table(status="word")), "an enum without 'failed'"),
    "varchar(6)": (Shape(table(status="varchar(6)")), "holds 6 characters, and 'running' has 7"),
    "a generated status": (
        Shape(table(status="text GENERATED ALWAYS AS (coalesce(note, 'done')) STORED")),
        "is generated: the engine could not write it",
    ),
    "no key": (Shape(table("job_id integer")), "is not unique by itself"),
    "a key among some rows": (
        Shape(table("job_id integer") + "CREATE UNIQUE INDEX ON jobs (job_id) WHERE note IS NULL"),
        "is not unique by itself",
    ),
    "a part of the key": (
        Shape(table("job_id integer", tail=", PRIMARY KEY (job_id, tenant_id)")),
        'its primary key is key = ["job_id", "tenant_id"]',
    ),
    "bytes as the key": (Shape(table("job_id bytea PRIMARY KEY")), "whose values are written in several ways"),
    "a float as the key": (Shape(table("job_id float8 PRIMARY KEY")), "whose values are written in several ways"),
}
