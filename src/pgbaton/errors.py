"""The whole tree of errors::

PgbatonError
├── ConfigError            a pipeline or setting that cannot be; names the place and the value
├── DatabaseError          the database is not there, not right, or refuses
│   ├── NotMigrated        the schema ``pgbaton`` is missing or older than this engine
│   ├── AttachError        the user's table cannot be attached as the pipeline says
│   │   ├── PastRows       rows stand in routed states already: decide about them
│   │   └── NotAtHome      the pipeline was attached in another database, of which this may be a copy
│   └── LockNotHad         tables were busy for longer than the lock timeout
├── LeaseLost              this worker's lease lapsed: its calls may be other workers' now
├── Refused                an operator's action that cannot be done as things are
└── JobRefused             a stage was called for a job that it may not work on
"""

from __future__ import annotations


class PgbatonError(Exception):
    """Every error that this package raises on purpose; the message is meant for people."""


class ConfigError(PgbatonError):
    """A configuration that cannot be: the message names the source, the key and the value."""


class DatabaseError(PgbatonError):
    """The database cannot be reached or used; the message never holds a password."""


class NotMigrated(DatabaseError):
    """The schema ``pgbaton`` is missing or older than this engine; ``pgbaton migrate`` mends it."""


class AttachError(DatabaseError):
    """The user's table, a column of it, or a right on it is not as the pipeline needs."""


class PastRows(AttachError):
    """Rows stand in states that become routed, and an operator has yet to decide about them; nothing was changed."""


class NotAtHome(AttachError):
    """The pipeline was attached in another database: this may be a copy of it, whose jobs must not be called."""


class LockNotHad(DatabaseError):
    """The locks for DDL, on the user's table or on the engine's own, were not had in time; nothing was changed."""


class LeaseLost(PgbatonError):
    """This worker's lease lapsed, so its dispatches may be another worker's by now."""


class Refused(PgbatonError):
    """An operator's action that cannot be done as things are; ``code`` says why for programs.

    ``unknown_job``, ``unknown_stage``, ``running`` (a stage is at work: force it, or wait) or ``busy`` (the
    row is locked this moment: try again), ``too_wide`` (narrow the filter), ``shadow`` (the job is in shadow mode).
    Of decisions: ``not_waiting``, ``unknown_choice``, and of links ``forged`` and ``late``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class JobRefused(PgbatonError):
    """A stage was called for a job that it may not work on.

    ``status`` is the HTTP status to answer (404, 409 or 422) and ``title`` its short name.
    """

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
