"""The formats in which ads are made, as ``formats.toml`` beside this file lists them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from pydantic import TypeAdapter

from adstudio.vision.errors import InputError, Language
from adstudio.vision.shapes import Box


@dataclass(frozen=True, slots=True)
class Format:
    """A size in pixels and the rules that go with it; ``formats.toml`` explains each number."""

    name: str
    ko: str
    en: str
    width: int
    height: int
    safe: tuple[float, float, float, float]
    smallest: int
    viewed: int
    least_type: float
    headline: tuple[float, float]

    @property
    def short(self) -> int:
        """The shorter side, in pixels."""
        return min(self.width, self.height)

    @property
    def safe_box(self) -> Box:
        """Where text may go."""
        top, right, bottom, left = self.safe
        return Box(
            round(left * self.width),
            round(top * self.height),
            round((1 - right) * self.width),
            round((1 - bottom) * self.height),
        )

    @property
    def is_covered_below(self) -> bool:
        """Whether the platform's interface covers the lower part, as it does a story's."""
        bottom, left = self.safe[2:]
        return bottom != left and bottom > 0.2

    @property
    def is_strip(self) -> bool:
        """Three times as wide as high, or more."""
        return self.width >= 3 * self.height

    @property
    def lies(self) -> bool:
        """Clearly wider than high: text goes beside the picture, not below it."""
        return self.width > 1.3 * self.height

    def label(self, language: Language) -> str:
        """Its name for people."""
        return self.ko if language == "ko" else self.en


_BY_NAME = TypeAdapter(dict[str, Format])


def _read() -> dict[str, Format]:
    table = tomllib.loads((files("adstudio") / "vision" / "formats.toml").read_text(encoding="utf-8"))
    return _BY_NAME.validate_python({name: {"name": name, **entry} for name, entry in table.items()})


FORMATS: Final = _read()
DEFAULT: Final = ("square", "portrait", "story")
"""The formats that are made where the client asks for no others."""


def chosen(names: list[str] | tuple[str, ...] | None) -> tuple[Format, ...]:
    """The formats of these names, or the default ones; raises ``InputError`` for a name that is none."""
    unknown = [name for name in names or () if name not in FORMATS]
    if unknown:
        known = ", ".join(FORMATS)
        raise InputError(
            f"알 수 없는 형식입니다: {', '.join(unknown)}. 사용할 수 있는 형식: {known}.",
            f"There is no format {', '.join(unknown)}. There are: {known}.",
        )
    return tuple(FORMATS[name] for name in dict.fromkeys(names or DEFAULT))
