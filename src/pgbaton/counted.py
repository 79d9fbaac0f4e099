"""Values in sentences. In English the words beside a count depend on it: ``{count:# job waits|# jobs wait}`` is ``1 job
waits`` or ``3 jobs wait``; ``#`` is the count. Korean needs no such choice."""

from __future__ import annotations

import re
from collections.abc import Mapping

_VALUE = re.compile(r"\{\w+(?::[^{}|]*\|([^{}|]*))?\}")


class Counted(str):
    """A value as it is shown, which may be a count: ``Counted(1)``, ``Counted("10,000+")``."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        if "|" not in spec:
            return super().__format__(spec)
        one, several = spec.split("|")
        return (one if self == "1" else several).replace("#", self)


def filled(template: str, values: Mapping[str, object]) -> str:
    """The template with its values."""
    return template.format_map({name: Counted(v) if isinstance(v, str | int) else v for name, v in values.items()})


def outline(template: str) -> str:
    """The template for people who ask what it may say: … in place of each value, and of several where it counts."""
    return _VALUE.sub(lambda found: "…" if found[1] is None else found[1].replace("#", "…"), template)
