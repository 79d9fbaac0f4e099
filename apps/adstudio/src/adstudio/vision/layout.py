"""A planned ad: where the picture and every line of type go, in pixels of the ad. The planner makes it, the overlay
draws it, the judge measures the drawn ad; between them it is stored as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from pydantic import TypeAdapter

from adstudio.vision.shapes import Box
from adstudio.vision.type_block import Role
from adstudio.vision.typefaces import Weight

Master = Literal["full_bleed", "split", "cut_out"]
Alignment = Literal["left", "centre"]
Edge = Literal["top", "bottom", "left", "right"]
Colour = str
"""As in ``#ffffff``."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of type: its left end and its baseline, its size and width in pixels."""

    role: Role
    text: str
    weight: Weight
    size: int
    x: int
    y: int
    width: int


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the photo that is shown, in shares of the photo's width and height; beyond 0 and 1 where a plain
    side of it is continued."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Scrim:
    """A tint over the picture: even for ``solid`` pixels from an edge, gone after ``fade`` more; 0 to 1 strong."""

    edge: Edge
    solid: int
    fade: int
    strength: float
    colour: Colour


@dataclass(frozen=True, slots=True)
class Layout:
    """``pane`` is where the picture is, ``text_box`` where the type is, ``measures`` why it was chosen."""

    format: str
    width: int
    height: int
    master: Master
    pane: Box
    window: Window
    ground: Colour
    ink: Colour
    accent: Colour
    accent_ink: Colour
    align: Alignment
    lines: tuple[Line, ...]
    text_box: Box
    button: Box | None = None
    logo: Box | None = None
    scrim: Scrim | None = None
    backdrop: Colour | None = None
    score: float = 0.0
    measures: dict[str, float] = field(default_factory=dict)

    def scaled(self, factor: float) -> Layout:
        """The same layout ``factor`` times as large."""
        if factor == 1:
            return self

        def box(one: Box) -> Box:
            return Box(*(round(v * factor) for v in (one.left, one.top, one.right, one.bottom)))

        def line(one: Line) -> Line:
            return replace(one, **{key: round(getattr(one, key) * factor) for key in ("size", "x", "y", "width")})

        scrim = self.scrim and replace(
            self.scrim, solid=round(self.scrim.solid * factor), fade=round(self.scrim.fade * factor)
        )
        return replace(
            self,
            width=round(self.width * factor),
            height=round(self.height * factor),
            pane=box(self.pane),
            text_box=box(self.text_box),
            button=self.button and box(self.button),
            logo=self.logo and box(self.logo),
            lines=tuple(map(line, self.lines)),
            scrim=scrim,
        )


LAYOUTS: Final = TypeAdapter(list[Layout])
"""Reads and writes layouts as JSON."""


def to_hex(colour: tuple[int, int, int]) -> Colour:
    """``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def from_hex(colour: Colour) -> tuple[int, int, int]:
    """The three channels, 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
