"""The questions asked of a finished ad, each answered by a number against a limit."""

from __future__ import annotations

from typing import Final
from unicodedata import normalize

from adstudio.vision.contrast import READABLE
from adstudio.vision.legibility import found_share, similarity
from adstudio.vision.shapes import Box, Check, Mask, Rgb

MIN_SIZE: Final = 0.03  # font size over the picture's short side: 11 px on a phone 360 px wide
LARGE_SIZE: Final = 0.052  # the same; 14 pt bold, which WCAG calls large, on that phone
MIN_CONTRAST: Final = READABLE
MIN_CONTRAST_LARGE: Final = 3.0  # WCAG 2.2, success criterion 1.4.3
MIN_SIMILARITY: Final = 0.8
MIN_VISIBLE: Final = 0.75  # of the text box's width and of its height


def placement(ad: Rgb, box: Box) -> Check:
    """Does the lettering lie within the picture?"""
    height, width = ad.shape[:2]
    beyond = max(0, -box.left, -box.top, box.right - width, box.bottom - height)
    empty = box.width <= 0 or box.height <= 0
    return Check(
        name="placement",
        passed=beyond == 0 and not empty,
        value=beyond,
        limit=0,
        unit="px beyond the picture's edge, at most",
        reason="The text box is empty."
        if empty
        else f"The text runs {beyond} px beyond the picture's edge."
        if beyond
        else "The text lies within the picture.",
    )


def wording(copy: str, lines: tuple[str, ...]) -> Check:
    """Was the whole copy set, and nothing else? Letters and digits count, if there are any."""
    same = _letters(copy) == _letters("".join(lines)) != ""
    return Check(
        name="wording",
        passed=same,
        value=float(same),
        limit=1,
        unit="1 when the whole copy was set, at least",
        reason="The whole copy was set." if same else "The lines that were set are not the copy.",
    )


def overlap(forbidden: Mask) -> Check:
    """Is the forbidden area under the lettering (a mask of the text box) empty?"""
    pixels = int(forbidden.sum())
    return Check(
        name="overlap",
        passed=pixels == 0,
        value=pixels,
        limit=0,
        unit="px of the forbidden area under the text, at most",
        reason=f"The text covers {pixels} px of what it must leave free."
        if pixels
        else "The text leaves the subject free.",
    )


def size(share: float) -> Check:
    """Is the lettering large enough? ``share`` is its font size over the picture's short side."""
    passed = share >= MIN_SIZE
    told = f"{share:.1%} of the picture's short side"
    return Check(
        name="size",
        passed=passed,
        value=round(share, 4),
        limit=MIN_SIZE,
        unit="font size over the short side, at least",
        reason=f"The font size is about {told}."
        if passed
        else f"The text is too small: its size is about {told}, it must be {MIN_SIZE:.0%}.",
    )


def contrast(measured: float, declared: float, share: float) -> Check:
    """Is the worse of two contrasts, 1 to 21, enough for text of this size (``share`` as in ``size``)?"""
    large = share >= LARGE_SIZE
    limit = MIN_CONTRAST_LARGE if large else MIN_CONTRAST
    value = round(min(measured, declared), 2)
    return Check(
        name="contrast",
        passed=value >= limit,
        value=value,
        limit=limit,
        unit="WCAG contrast, at least",
        reason=f"The text's contrast is {value:.1f} (measured {measured:.1f}, declared {declared:.1f}); "
        f"{'large text' if large else 'text of this size'} needs {limit}.",
    )


def legibility(meant: str, read: str, *, mixed: bool) -> Check:
    """Does OCR read what was meant? In ``mixed`` copy the letters that it does not know do not count."""
    value = round(found_share(meant, read) if mixed else similarity(meant, read), 4)
    passed = value >= MIN_SIMILARITY
    part = "The part of the text that the OCR knows" if mixed else "The text"
    return Check(
        name="legibility",
        passed=passed,
        value=value,
        limit=MIN_SIMILARITY,
        unit="likeness of what OCR reads to the copy, at least",
        reason=f"{part} was read back: {value:.0%} alike."
        if passed
        else f"{part} is not legible: OCR reads “{read[:60]}” instead of “{meant[:60]}”.",
    )


def visibility(share: float) -> Check:
    """Does OCR see text where it is said to be? ``share`` is of the text box, 0 to 1."""
    found = f"OCR sees text over {share:.0%} of the text's place"
    passed = share >= MIN_VISIBLE
    return Check(
        name="visibility",
        passed=passed,
        value=round(share, 4),
        limit=MIN_VISIBLE,
        unit="share of the text box where OCR sees text, at least",
        reason=f"{found}; it cannot read this script, so the words themselves were not checked."
        if passed
        else f"The text is not visible as text: {found}, at least {MIN_VISIBLE:.0%} is needed.",
    )


def _letters(text: str) -> str:
    plain = normalize("NFKC", "".join(text.split()))
    return "".join(character for character in plain if character.isalnum()) or plain
