"""The tint between a photo and the type on it: no stronger than the type needs, and from one edge of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from adstudio.vision.contrast import luminance, ratio
from adstudio.vision.layout import Edge, Scrim, to_hex
from adstudio.vision.palette import INK, WHITE, Channels, Hues, deepened, tint_of
from adstudio.vision.shapes import Box

STRONGEST: Final = 0.62  # more hides the photo that the ad is about
WANTED: Final = 5.2  # WCAG's 4.5 and something for the judge's own measure
_WORST: Final = 0.03  # of the ground behind the type may have less contrast
_STRENGTHS: Final = (0.0, 0.14, 0.24, 0.34, 0.44, 0.53, STRONGEST)
CALM: Final = 2.2  # grey levels a view pixel, mean behind the type once it is tinted
BUSY: Final = 2.0  # the same in the busiest of it: a stalk or a mast that crosses the type; the judge's limit is 2.5
MIXED: Final = 50.0  # grey levels, standard deviation behind the type: more is light and shade at once
_PALE: Final = 0.5  # relative luminance, mean: type on a paler ground is black as a matter of course
_MOST_VEILED: Final = 0.24  # a veil of white that is stronger looks like fog
_DULL: Final = 0.36  # of strength, that black on a ground that is not pale has to save to be chosen
_FADE: Final = 0.24  # of the side


@dataclass(frozen=True, slots=True)
class Tinted:
    """An ink, and how strong a tint of which colour it needs."""

    ink: Channels
    tint: Channels
    strength: float


@dataclass(frozen=True, slots=True)
class Unrest:
    """How restless a ground is: mean and busiest change in grey levels a view pixel, and the spread of its greys."""

    mean: float
    busiest: float
    spread: float

    def is_calm_under(self, strength: float) -> bool:
        """Whether a tint of that strength makes it calm: it takes as much from every difference."""
        left = 1 - strength
        return self.mean * left <= CALM and self.busiest * left <= BUSY and self.spread * left <= MIXED


def lightest_tint(ground: NDArray[np.uint8], unrest: Unrest, hues: Hues) -> Tinted | None:
    """The ink that needs the lighter tint on ``ground`` (pixels, ``[..., 3]``); None where both need too much."""
    pixels = ground.reshape(-1, 3)
    if len(pixels) > 4000:
        pixels = pixels[:: len(pixels) // 4000]
    found = []
    light = float(luminance(pixels).mean())
    for ink in (WHITE, INK):
        tint = deepened(pixels.mean(axis=0)) if ink == WHITE else tint_of(hues)
        for strength in _STRENGTHS:
            if not unrest.is_calm_under(strength) or (ink == INK and strength > _MOST_VEILED):
                continue
            mixed = pixels + (np.array(tint) - pixels) * strength
            worst = np.quantile(ratio(luminance(mixed), luminance(np.array(ink))), _WORST)
            if worst >= WANTED:
                found.append(Tinted(ink, tint, strength))
                break
    # White type on a dark tint hurts a photo less than a veil of white, and is livelier on colours that are not pale.
    dull = 0.0 if light > _PALE else _DULL
    return min(found, key=lambda one: one.strength + (dull if one.ink == INK else 0.0), default=None)


def scrim_for(box: Box, width: int, height: int, tinted: Tinted) -> Scrim | None:
    """The scrim from the edge that the type is nearest to; None where none is needed."""
    if not tinted.strength:
        return None
    air = round(0.035 * min(width, height))
    reach: dict[Edge, int] = {
        "left": box.right + air,
        "right": width - box.left + air,
        "top": box.bottom + air,
        "bottom": height - box.top + air,
    }
    # From the edge from which it covers least of the picture: a short line in a corner needs no veil over the half.
    edge = min(reach, key=lambda one: reach[one] / (width if one in ("left", "right") else height))
    side = width if edge in ("left", "right") else height
    return Scrim(edge, reach[edge], round(_FADE * side), tinted.strength, to_hex(tinted.tint))


def scrim_alpha(scrim: Scrim, width: int, height: int) -> NDArray[np.float32]:
    """How much of the tint covers each pixel, as a column or a row that broadcasts over ``[height, width]``."""
    across = scrim.edge in ("left", "right")
    length = width if across else height
    distance = np.arange(length, dtype=np.float32)
    if scrim.edge in ("right", "bottom"):
        distance = distance[::-1]
    fall = np.clip((distance - scrim.solid) / max(1, scrim.fade), 0, 1)
    smooth = 1 - fall * fall * (3 - 2 * fall)
    alpha = (scrim.strength * smooth).astype(np.float32)
    return alpha[None, :] if across else alpha[:, None]
