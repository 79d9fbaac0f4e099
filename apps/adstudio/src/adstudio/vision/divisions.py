"""How the master with a panel may part a format: where the photo goes, and where in the rest the type may go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from adstudio.vision.formats import Format
from adstudio.vision.shapes import Box

_CARD: Final = 0.085  # of the height, around a photo that stands as a card beside the type
_PAD: Final = 0.07  # of the short side, around the type in its panel
_LEAST_CARD: Final = 0.11  # of the ad: a smaller photo is a stamp
_LEAST_STRIP, _MOST_STRIP = 0.26, 0.72  # of the height: a whole photo from side to side leaves the rest to the type
Side = Literal["left", "bottom", "top"]


@dataclass(frozen=True, slots=True)
class Division:
    """``side`` is the type's. ``whole``: the pane has the photo's own shape and shows all of it."""

    side: Side
    pane: Box
    room: Box
    is_card: bool = False
    whole: bool = False


def divisions(format_: Format, ratio: float, *, floats: bool = False) -> Iterator[Division]:
    """The divisions of a format for a photo of ``ratio`` (width over height). ``floats``: the photo's rim is of the
    panel's colour, so that it has no visible edge."""
    yield from _cropped(format_)
    yield from _whole(format_, ratio, floats=floats)


def _cropped(format_: Format) -> Iterator[Division]:
    width, height, short = format_.width, format_.height, format_.short
    pad, safe = round(_PAD * short), format_.safe_box
    if format_.lies:
        shares = (0.5, 0.6, 0.68) if format_.is_strip else (0.4, 0.45, 0.5, 0.56)
        for share in shares:
            edge = round(width * share)
            room = Box(safe.left, safe.top, edge - pad, safe.bottom)
            yield Division("left", Box(edge, 0, width, height), room)
        if not format_.is_strip:  # the photo as a card: a wide subject stays whole
            margin = round(_CARD * height)
            for share in (0.36, 0.42):
                edge = round(width * share)
                room = Box(safe.left, safe.top, edge - round(0.9 * pad), safe.bottom)
                yield Division("left", Box(edge, margin, width - margin, height - margin), room, is_card=True)
        return
    if format_.safe[3] != format_.safe[2] and format_.safe[2] > 0.2:  # the interface covers the lower part
        for share in (0.36, 0.4, 0.45, 0.5):
            edge = round(height * share)
            room = Box(safe.left, safe.top, safe.right, edge - pad)
            for end in (height, round(height * 0.82)):
                yield Division("top", Box(0, edge, width, end), room)
        return
    for share in (0.3, 0.36, 0.42, 0.48, 0.54, 0.6):
        edge = round(height * (1 - share))
        room = Box(safe.left, edge + round(pad * 0.8), safe.right, min(safe.bottom, height - round(pad * 0.8)))
        yield Division("bottom", Box(0, 0, width, edge), room)
    for share in (0.46, 0.5, 0.56, 0.64):
        edge = round(width * share)
        room = Box(safe.left, safe.top, edge - pad, safe.bottom)
        yield Division("left", Box(edge, 0, width, height), room)


def _whole(format_: Format, ratio: float, *, floats: bool) -> Iterator[Division]:
    """Those that cut nothing: what a photo sells may reach from rim to rim, or be unknown to every map."""
    width, height, safe = format_.width, format_.height, format_.safe_box
    pad, margin = round(_PAD * format_.short), round(_CARD * format_.short)
    covered = format_.safe[2] > 0.2  # the lower part, by an interface
    if format_.is_strip:
        return
    for share in (0.36, 0.4, 0.46, 0.5, 0.56, 0.64):  # beside the type
        edge = round(width * share)
        low = round(height * 0.82) if covered else height - margin
        pane = _fitted(ratio, Box(edge, safe.top if covered else margin, width - margin, low))
        room = Box(safe.left, safe.top, edge - round(0.9 * pad), safe.bottom)
        if not covered and pane.area >= _LEAST_CARD * width * height:
            yield Division("left", pane, room, is_card=True, whole=True)
    if format_.lies:
        return
    strip = round(width / ratio)
    if covered:
        for share in (0.36, 0.4, 0.45, 0.5):
            edge = round(height * share)
            if edge + strip <= height:
                room = Box(safe.left, safe.top, safe.right, edge - pad)
                yield Division("top", Box(0, edge, width, edge + strip), room, whole=True)
        return
    if _LEAST_STRIP * height <= strip <= _MOST_STRIP * height:
        for top in (safe.top, round(safe.top / 4)) if floats else (0,):  # its subject may not touch the ad's edge
            low = top + strip
            room = Box(safe.left, low + round(pad * (0.4 if floats else 0.8)), safe.right, safe.bottom)
            yield Division("bottom", Box(0, top, width, low), room, whole=True)
    for share in (0.42, 0.48, 0.54, 0.6):  # above the type, in its column
        edge = round(height * (1 - share))
        pane = _fitted(ratio, Box(safe.left, safe.top, safe.right, edge - round(pad * 0.2)), at_left=True)
        room = Box(safe.left, edge + round(pad * 0.6), safe.right, min(safe.bottom, height - round(pad * 0.8)))
        if pane.area >= _LEAST_CARD * width * height:
            yield Division("bottom", pane, room, is_card=True, whole=True)


def _fitted(ratio: float, room: Box, *, at_left: bool = False) -> Box:
    """The largest box of ``ratio`` in ``room``, in its middle or at its left."""
    width = min(room.width, round(room.height * ratio))
    height = min(room.height, round(width / ratio))
    left = room.left if at_left else room.left + (room.width - width) // 2
    top = room.top + (room.height - height) // 2
    return Box(left, top, left + width, top + height)
