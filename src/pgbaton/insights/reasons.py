"""Why a job is where it is: a code with values, and one sentence for it in Korean and English."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgbaton.events import Language


@dataclass(frozen=True, slots=True)
class Explanation:
    """``code`` is for programs and never changes; ``values`` are what the sentence names (seconds are floats).

    ``moves``: whether it goes on by itself. Otherwise somebody has to do something.
    """

    code: str
    moves: bool
    values: dict[str, str | int | float | None] = field(default_factory=dict)

    def sentence(self, language: Language = "en") -> str:
        """One sentence. It holds text of others' making (errors, steps): escape it where that matters."""
        return sentence(self, language)


def sentence(explanation: Explanation, language: Language = "en") -> str:
    """The explanation in words."""
    raise NotImplementedError
