"""Shadow mode: the jobs whose calls are made, and those whose calls are only recorded. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from pgbaton.errors import ConfigError
from pgbaton.model import Pipeline


@dataclass(frozen=True)
class Rollout:
    """``share``: percent of the jobs that are called, by a stable hash of the key (``pgbaton.share_of``); a job that is
    called at 10 is called at 20, too. ``tenants``: theirs are called besides. ``urls``: by stage, the address that
    would be called."""

    share: float = 0.0
    tenants: tuple[str, ...] = ()
    urls: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str | None) -> Self | None:
        """From the column ``pgbaton.pipelines.rollout``; None: all jobs are called."""
        if text is None:
            return None
        read = json.loads(text)
        return cls(float(read["share"]), tuple(read["tenants"]), read["urls"])

    def as_json(self) -> str:
        """As the column has it."""
        return json.dumps({"share": self.share, "tenants": list(self.tenants), "urls": dict(self.urls)})

    def calling(self, pipeline: Pipeline) -> Self:
        """With the addresses of this pipeline's stages."""
        return replace(self, urls={s.step: pipeline.base_url + s.path for s in pipeline.stages})


def read_share(text: str) -> float:
    """``10%``, ``0.5%`` or ``10`` as percent. Raises :class:`ConfigError`."""
    try:
        share = float(text.strip().removesuffix("%"))
    except ValueError:
        share = -1.0
    if not 0 <= share <= 100:
        raise ConfigError(f"--share: must be a share such as 10% (it is {text!r:.60})")
    return share
