"""The user's table as SQL: the only place where its names enter a statement, and where they are quoted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from pgbaton import sql
from pgbaton.model import Pipeline


def quoted(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | None) -> str:
    """``value`` as an SQL string literal (or NULL), whatever ``standard_conforming_strings`` says."""
    if value is None:
        return "NULL"
    doubled = value.replace("'", "''")
    return f"'{doubled}'" if "\\" not in doubled else "E'" + doubled.replace("\\", "\\\\") + "'"


@dataclass(frozen=True)
class JobTable:
    """The names of a pipeline's table, ready for a statement; types as ``format_type`` spells them. ``channel``: where
    its trigger publishes every change, if it does; ``routes``: its stages in order, as (step, after), for the
    trigger's text."""

    pipeline: str
    schema: str
    name: str
    key: str
    tenant: str | None
    step: str
    status: str
    key_type: str = "text"
    step_type: str = "text"
    status_type: str = "text"
    has_updated_at: bool = False
    channel: str | None = None
    routes: tuple[tuple[str, str], ...] = ()
    _rendered: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self:
        """The table that ``pipeline`` names, before anybody has looked at its columns' types."""
        schema, _, name = pipeline.table.rpartition(".")
        return cls(
            pipeline.name,
            schema or "public",
            name,
            pipeline.key,
            pipeline.tenant,
            pipeline.step,
            pipeline.status,
            channel=pipeline.channel,
            routes=tuple((stage.step, stage.after) for stage in pipeline.in_order),
        )

    @property
    def qualified(self) -> str:
        """``"schema"."table"``"""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    def parts(self) -> dict[str, str]:
        """The named parts that a query file may use."""
        key, step, status = quoted(self.key), quoted(self.step), quoted(self.status)
        tenant = "NULL::text" if self.tenant is None else f"j.{quoted(self.tenant)}::text"
        columns = ", ".join(dict.fromkeys((key, *([quoted(self.tenant)] if self.tenant else []), step, status)))
        return {
            "table": self.qualified,
            "key": key,
            "step": step,
            "status": status,
            "tenant": tenant,
            "key_type": self.key_type,
            "step_type": self.step_type,
            "status_type": self.status_type,
            "matching": sql.read("queries/matching.sql").rstrip(),
            "attempts": "pgbaton.attempts",
            "dispatches": "pgbaton.dispatches",
            "columns": columns,
            "touch": ", updated_at = clock_timestamp()" if self.has_updated_at else "",
            "updated_at": "j.updated_at::timestamptz" if self.has_updated_at else "NULL::timestamptz",
            "row": f"j.{key} IS NOT NULL AS present, {tenant} AS tenant, "
            f"j.{step}::text AS step, j.{status}::text AS status",
        }

    def query(self, name: str) -> str:
        """The statement ``queries/{name}.sql`` for this table."""
        if name not in self._rendered:
            self._rendered[name] = sql.render(sql.read(f"queries/{name}.sql"), self.parts())
        return self._rendered[name]
