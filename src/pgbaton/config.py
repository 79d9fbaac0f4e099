"""Configuration: TOML, then environment, then the command line; the later one wins.

A TOML file and the Python objects are two spellings of one model: ``[pipeline]`` is a
:class:`~pgbaton.model.Pipeline`, ``[worker]`` the :class:`Settings` (but no secrets: no database URL).
"""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pgbaton.errors import ConfigError
from pgbaton.events import Language, LogFormat
from pgbaton.model import Pipeline
from pgbaton.model.fields import check_base_url

T = TypeVar("T")


def _plain_postgres(url: SecretStr) -> SecretStr:
    """Accept the spelling with a driver (``postgresql+asyncpg://``) that SQLAlchemy users have at hand."""
    text = re.sub(r"^postgres(ql)?(\+[a-z0-9]+)?://", "postgresql://", url.get_secret_value().strip())
    if not text.startswith("postgresql://"):
        raise ValueError("must start with postgresql://")
    return SecretStr(text)


def _names(value: object) -> object:
    """Names with commas between them, as the environment and the command line spell a list."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(","))
    return value


MISSED = 2 / 3
"""Share of a lease's length: it is renewed after each third, so where the last renewal is older than two, one was
missed."""
DATABASE_NAME = r"^[a-z][a-z0-9_]{0,47}$"
"""How a database is named, as a pipeline is: it becomes a part of variables, of addresses and of metrics."""
ALL = "all"
"""Every database, where one is asked for."""


def _plain_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Check the names of several databases."""
    for name, times in Counter(names).items():
        if not re.fullmatch(DATABASE_NAME, name) or name == ALL:
            shown = _shown(name)
            raise ValueError(f"a database's name is 1 to 48 of a-z, 0-9 and _, a letter first, and not {ALL}{shown}")
        if times > 1:
            raise ValueError(f"the database {name!r} is named twice")
    return names


PostgresUrl = Annotated[SecretStr, AfterValidator(_plain_postgres)]


def _web_address(url: SecretStr) -> SecretStr:
    if not re.fullmatch(r"https?://[^\s/]+\S*", url.get_secret_value()):
        raise ValueError("must be an http:// or https:// address")
    return url


WebhookUrl = Annotated[SecretStr, AfterValidator(_web_address)]


class Settings(BaseSettings):
    """How a worker runs. Durations are in seconds.

    ``listen_url``: a direct address for LISTEN, where ``database_url`` is a transaction pooler's.

    ``databases``: names of several databases, for :func:`each_database`; ``database``: the one of them that is meant.

    ``base_url``: where the stages are, instead of the pipeline's own ``base_url``.

    ``stages``: the stages that this worker calls (in the environment: with commas between them); absent: all.

    ``webhook_url``: told when a finding appears and when it ends, signed with ``webhook_secret``, as ``webhook_format``
    says.

    ``capacity``: calls under way at once. ``lease``: a worker that is silent for longer counts as lost. ``poll``: how
    long it sleeps at most without a notification. ``drain_timeout``: how long a shutdown waits for calls.
    ``retention``: how long settled dispatches are kept. ``reconcile_every``: how often to look at a page of the
    user's table for rows that no trigger saw; 0: never. ``log_format``: ``text`` or ``json``, where this process writes
    its own log. ``metrics_every``: how often the gauges that ask the database are refreshed; 0: never.
    ``watch_every``: how often one of the workers looks at the pipeline's health, and takes a census of the table;
    0: never. ``metrics_by_tenant``: count calls by tenant, too; only where there are few tenants. ``keep_answers``:
    the answers of stages whose first 2,000 characters are kept with the attempt, for operators to read.
    """

    model_config = SettingsConfigDict(
        env_prefix="PGBATON_", extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    database_url: PostgresUrl | None = Field(default=None, validation_alias=AliasChoices("DATABASE_URL"))
    listen_url: PostgresUrl | None = None
    databases: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names), AfterValidator(_plain_names)] = ()
    database: str | None = Field(default=None, pattern=DATABASE_NAME)
    base_url: Annotated[str, AfterValidator(check_base_url)] | None = None
    stages: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_names)] = Field(default=None, repr=False)
    webhook_url: WebhookUrl | None = None
    webhook_secret: SecretStr | None = None
    webhook_format: Literal["json", "slack"] = "json"
    capacity: int = Field(default=64, ge=1, le=10_000)
    lease: float = Field(default=15, ge=1, le=3600)
    poll: float = Field(default=5, ge=0.05, le=3600)
    drain_timeout: float = Field(default=30, ge=0, le=86400)
    retention: float = Field(default=30 * 86400, ge=60, le=100 * 365 * 86400)
    reconcile_every: float = Field(default=60, ge=0, le=86400)
    reconnect_delay: float = Field(
        default=5, gt=0, le=3600, validation_alias=AliasChoices("JOB_STATE_LISTENER_RECONNECT_DELAY")
    )
    log_language: Language = "en"
    log_format: LogFormat = "text"
    metrics_every: float = Field(default=15, ge=0, le=3600)
    watch_every: float = Field(default=5, ge=0, le=3600)
    metrics_by_tenant: bool = False
    keep_answers: Literal["none", "failures", "all"] = "failures"

    def listen_dsn(self) -> str | None:
        """The address to LISTEN at, where it is not the database URL's."""
        return None if self.listen_url is None else self.listen_url.get_secret_value()

    def dsn(self) -> str:
        """The database URL. Raises :class:`ConfigError` where none is set, or where there are several."""
        if self.databases:
            names = ", ".join(self.databases)
            raise ConfigError(f"several databases are named ({names}): choose one, PGBATON_DATABASE or --database NAME")
        if self.database_url is None:
            raise ConfigError("no database: set DATABASE_URL or give --database-url")
        return self.database_url.get_secret_value()


def load_pipeline(path: Path) -> Pipeline:
    """The pipeline of a TOML file. Raises :class:`ConfigError` naming the file, the key and the value."""
    document = _read(path)
    table = document.get("pipeline")
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: the table [pipeline] is missing")
    for name in ("pool", "pools"):
        if name in table:
            raise ConfigError(f"{path}: pipeline.{name}: a pool stands by itself: [[pool]], with name and size")
    if "pool" in document:
        table = {**table, "pool": document["pool"]}
    return _validated(lambda: Pipeline.model_validate(table), f"{path}: pipeline")


SECRETS = {
    "database_url": "DATABASE_URL",
    "listen_url": "PGBATON_LISTEN_URL",
    "webhook_url": "PGBATON_WEBHOOK_URL",
    "webhook_secret": "PGBATON_WEBHOOK_SECRET",
}
"""Settings that no file may hold, and the variables for them."""


def load_settings(path: Path | None = None, given: Mapping[str, object] | None = None) -> Settings:
    """Settings from the ``[worker]`` table of ``path``, the environment, and ``given`` (the command line).

    Raises :class:`ConfigError`.
    """
    table = _read(path).get("worker", {}) if path else {}
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: worker: must be a table, [worker]")
    for name, variable in SECRETS.items():
        if name in table or variable in table:
            raise ConfigError(f"{path}: worker.{name}: a secret does not belong in this file; set {variable}")
    for name in ("databases", "database"):
        if name in table:
            raise ConfigError(
                f"{path}: worker.{name}: databases are named in the environment, where every command sees them; "
                f"set PGBATON_{name.upper()}"
            )
    for name in table:
        if name not in Settings.model_fields:
            raise ConfigError(f"{path}: worker.{name}: unknown key{_shown(table[name])}")
    environment = read_settings(Settings)  # first: validating the table reads the environment, too
    from_file = _validated(lambda: Settings.model_validate(table), f"{path}: worker") if table else None
    chosen: dict[str, Any] = {name: getattr(from_file, name) for name in table} if from_file else {}
    chosen |= {name: getattr(environment, name) for name in environment.model_fields_set}
    chosen |= {name: value for name, value in (given or {}).items() if value is not None}
    if (given or {}).get("database_url") is not None:  # it comes before the databases that the environment names
        chosen |= {"databases": (), "database": None}
    return _validated(lambda: Settings.model_validate(chosen), "command line")


def load_databases(path: Path | None = None, given: Mapping[str, object] | None = None) -> dict[str, Settings]:
    """As :func:`load_settings`, for each database that is meant: :func:`each_database`. A ``database_url`` that is
    given is the only one."""
    settings, wanted = load_settings(path, given), (given or {}).get("database")
    if wanted is not None and wanted not in (ALL, *settings.databases):
        named = ", ".join(settings.databases) or "none"
        raise ConfigError(f"--database: there is no database {wanted!r}; PGBATON_DATABASES names: {named}")
    return each_database(settings)


def each_database(settings: Settings) -> dict[str, Settings]:
    """The settings for each database by its name: of ``settings.databases`` all, or the one that is chosen. Where none
    are named there is one, whose name may be empty.

    Raises :class:`ConfigError` where a database has no address, or the address of another one.
    """
    if not settings.databases:
        return {settings.database or "": settings}
    if settings.database not in (None, ALL, *settings.databases):
        named = ", ".join(settings.databases)
        raise ConfigError(f"PGBATON_DATABASE: there is no database {settings.database!r}; there are: {named}")
    names = [name for name in settings.databases if settings.database in (None, ALL, name)]
    each = {name: _of_database(settings, name) for name in names}
    by_address: dict[str, str] = {}
    for name, one in each.items():
        other = by_address.setdefault(one.dsn(), name)
        if other != name:
            raise ConfigError(f"environment: DATABASE_URL_{other.upper()} and DATABASE_URL_{name.upper()} are the same")
    return each


def one_database(settings: Settings) -> Settings:
    """The settings for the one database that is meant. Raises :class:`ConfigError` where there are several."""
    each = list(each_database(settings).values())
    if len(each) > 1:
        settings.dsn()  # says so
    return each[0]


def _of_database(settings: Settings, name: str) -> Settings:
    addresses: dict[str, object] = {}
    for field, variable in (("database_url", "DATABASE_URL"), ("listen_url", "PGBATON_LISTEN_URL")):
        variable = f"{variable}_{name.upper()}"
        try:
            addresses[field] = _plain_postgres(SecretStr(os.environ[variable]))
        except ValueError as error:
            raise ConfigError(f"environment: {variable}: {error}") from None
        except KeyError:
            if field == "database_url":
                raise ConfigError(f"environment: {variable}: missing, the address of the database {name!r}") from None
            addresses[field] = None
    if (base_url := os.environ.get(f"PGBATON_BASE_URL_{name.upper()}")) is not None:
        try:
            addresses["base_url"] = check_base_url(base_url)
        except ValueError as error:
            raise ConfigError(f"environment: PGBATON_BASE_URL_{name.upper()}: {error}") from None
    return settings.model_copy(update={**addresses, "databases": (), "database": name})


Read = TypeVar("Read", bound=BaseSettings)


def read_settings(kind: type[Read]) -> Read:
    """Settings of ``kind`` from the environment. Raises :class:`ConfigError` naming the variable and its value."""
    try:
        return kind()
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        raise ConfigError("\n".join(_sentences(error, "environment: ", lambda loc: _variable(prefix, loc)))) from None


def _variable(prefix: str, location: tuple[int | str, ...]) -> str:
    """The environment's variable that a field is read from: its alias, or its name after the prefix."""
    name = str(location[0])
    return name if name.isupper() else f"{prefix}{name}".upper()


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    for name in document:
        if name not in ("pipeline", "pool", "worker"):
            raise ConfigError(
                f"{path}: {name}: unknown table; there are [pipeline], [[pipeline.stage]], [[pool]] and [worker]"
            )
    return document


def _validated(build: Callable[[], T], place: str) -> T:
    try:
        return build()
    except ValidationError as error:
        lines = _sentences(error, place)
        raise ConfigError("\n".join(line.replace(": pipeline.pool[", ": pool[", 1) for line in lines)) from None


def _key(location: tuple[int | str, ...]) -> str:
    """``.stage[2].path``, as the file spells it: the model's ``stages`` are ``[[pipeline.stage]]`` there, and
    ``pools`` ``[[pool]]``."""
    as_in_file = ({"stages": "stage", "pools": "pool"}.get(str(part), part) for part in location)
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in as_in_file)


def _shown(value: object) -> str:
    """A wrong value for its message, unless it is large or may hold a password."""
    if isinstance(value, dict | list | tuple) or (isinstance(value, str) and "@" in value):
        return ""
    return f" (it is {value!r:.200})"


def _sentences(error: ValidationError, place: str, named: Callable[[tuple[int | str, ...]], str] = _key) -> list[str]:
    """One line for each fault: its place and key, its description, and the value unless it may hold a secret."""
    faults = error.errors(include_url=False, include_context=False)
    lines = []
    for fault in faults:
        if any(f["loc"][: len(fault["loc"])] == fault["loc"] and f is not fault for f in faults):
            continue  # a list with a bad part in it: the part's own fault is the one to mend
        where = named(fault["loc"])
        said = fault["msg"].removeprefix("Value error, ")
        secret = where.upper().endswith(("DATABASE_URL", "LISTEN_URL", "WEBHOOK_URL", "WEBHOOK_SECRET"))
        shown = "" if secret else _shown(fault.get("input"))
        if fault["type"] == "extra_forbidden":
            said = "unknown key"
        elif fault["type"] == "missing":
            said, shown = "missing", ""
        lines.append(f"{place}{where}: {said}{shown}")
    return lines
