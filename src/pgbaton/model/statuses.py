"""A table's own words for the meanings of a status. No I/O."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from pgbaton.model.fields import Frozen, Step
from pgbaton.model.states import CANCELLED, DONE, FAILED, QUARANTINED, RUNNING


def _as_words(value: Any) -> Any:
    """One word or several; a number or a boolean is the word that Postgres shows for it."""
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, int | str):
        return (str(value),)
    return tuple(_as_words(each)[0] if isinstance(each, int) else each for each in value)


Words = Annotated[tuple[Step, ...], BeforeValidator(_as_words)]


class Statuses(Frozen):
    """The table's own words for each meaning of a status: one, or several of which the engine writes the first.

    Whole numbers and booleans are taken as Postgres shows them. A word that is not named here means nothing, also where
    it reads like one of the engine's. ``waiting`` only gives such words one name.
    """

    running: Words = Field(default=(RUNNING,), min_length=1)
    done: Words = Field(default=(DONE,), min_length=1)
    failed: Words = Field(default=(FAILED,), min_length=1)
    cancelled: Words = Field(default=(CANCELLED,), min_length=1)
    quarantined: Words = Field(default=(QUARANTINED,), min_length=1)
    waiting: Words = ()

    @model_validator(mode="after")
    def _one_meaning_each(self) -> Self:
        seen: dict[str, str] = {}
        for meaning, words in self.by_meaning.items():
            for word in words:
                if word in seen:
                    what = f"twice {meaning!r}" if seen[word] == meaning else f"both {seen[word]!r} and {meaning!r}"
                    raise ValueError(f"the word {word!r} is said to mean {what}")
                seen[word] = meaning
        return self

    @property
    def by_meaning(self) -> dict[str, tuple[str, ...]]:
        """The words of each meaning that has any."""
        return {name: words for name in type(self).model_fields if (words := getattr(self, name))}

    @property
    def plain(self) -> bool:
        """Whether the table's words are the engine's own."""
        return all(words == (meaning,) for meaning, words in self.by_meaning.items())

    def word(self, meaning: str | None) -> str | None:
        """The word that the engine writes for ``meaning``; any other word stands for itself."""
        return self.by_meaning.get(meaning, (meaning,))[0] if meaning is not None else None
