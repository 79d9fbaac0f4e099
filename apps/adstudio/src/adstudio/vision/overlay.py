"""Draws a layout: the picture in its pane, the tint, the button, the logo and every line of type."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image, ImageDraw

from adstudio.vision import emoji
from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.kit import Kit
from adstudio.vision.layout import Layout, Line, from_hex
from adstudio.vision.palette import Channels
from adstudio.vision.scene import PLAIN_RIM
from adstudio.vision.scrim import scrim_alpha
from adstudio.vision.shapes import Box, Rgb
from adstudio.vision.typefaces import Typeface

_SUB_TOWARDS_GROUND = 0.12  # a sub line is a shade quieter than its headline
_EMOJI_SIZE, _EMOJI_DROP = 1.06, 0.17  # ems: an emoji's height, and how far it hangs below the baseline
_BAND = 128  # rows
_BORDER = 0.003  # of the photo's longer side
_SPREAD = 0.25  # of the pane: from the photo to where a continued side is smoothed most
_SOFTENED, _ALONG = 0.025, 0.09  # of the pane: how far a continued side is smoothed, across its edge and along it


def draw(layout: Layout, photo: Rgb, copy: AdCopy, kit: Kit) -> Rgb:
    """The finished ad. ``photo`` is the one that the layout was planned for, at any size."""
    picture = without_type(layout, photo)
    image = Image.fromarray(picture)
    canvas = ImageDraw.Draw(image)
    face = kit.typeface(copy)
    if layout.logo is not None and kit.logo is not None:
        logo = kit.logo.resize((layout.logo.width, layout.logo.height), Image.Resampling.LANCZOS)
        image.paste(logo, (layout.logo.left, layout.logo.top), logo)
    if layout.button is not None:
        _pill(image, layout.button, from_hex(layout.accent))
    for line in layout.lines:
        _set(image, canvas, line, face, _colour(layout, line))
    return np.asarray(image)


def without_type(layout: Layout, photo: Rgb) -> Rgb:
    """The ad's picture, panel and tint before anything is written on them."""
    ad = np.empty((layout.height, layout.width, 3), np.uint8)
    ad[:] = from_hex(layout.ground)
    pane = layout.pane
    ad[pane.top : pane.bottom, pane.left : pane.right] = pane_of(layout, photo)
    if layout.scrim is not None:
        alpha = np.broadcast_to(scrim_alpha(layout.scrim, layout.width, layout.height), (layout.height, layout.width))
        tint = np.array(from_hex(layout.scrim.colour), np.float32)
        for rows in _bands(layout.height):
            share = alpha[rows, :, None]
            ad[rows] = np.rint(ad[rows] * (1 - share) + tint * share)
    return ad


def _bands(height: int) -> Iterator[slice]:
    """Rows to reckon with at a time: of a whole ad, every step with fractions would take 25 MB."""
    return (slice(top, min(top + _BAND, height)) for top in range(0, height, _BAND))


def pane_of(layout: Layout, photo: Rgb) -> Rgb:
    """The shown part of the photo at the pane's size, continued beyond the photo where the layout says so."""
    height, width = photo.shape[:2]
    window, pane = layout.window, layout.pane
    left, right = window.left * width, window.right * width
    top, bottom = window.top * height, window.bottom * height
    across, down = pane.width / (right - left), pane.height / (bottom - top)
    # Beyond an edge, the photo's outermost lines are left out: the border of a scan or an export would be a hairline
    # there, and its colour that of the whole continued side.
    border = min(max(1, round(_BORDER * max(width, height))), min(width, height) // 8)
    first_x, first_y = (border if edge < 0 else 0 for edge in (left, top))
    last_x, last_y = width - border * (right > width), height - border * (bottom > height)
    inside = (
        max(first_x, round(left)),
        max(first_y, round(top)),
        min(last_x, max(round(right), round(left) + 1)),
        min(last_y, max(round(bottom), round(top) + 1)),
    )
    part = photo[inside[1] : inside[3], inside[0] : inside[2]]
    # The part beyond the photo, in pixels of the pane.
    beyond = (
        max(0, round((first_y - top) * down)),
        max(0, round((bottom - last_y) * down)),
        max(0, round((first_x - left) * across)),
        max(0, round((right - last_x) * across)),
    )
    size = (max(1, pane.width - beyond[2] - beyond[3]), max(1, pane.height - beyond[0] - beyond[1]))
    shrinks = size[0] < part.shape[1]
    shown = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)
    if not any(beyond):
        return shown
    return _continued(shown, beyond, pane)


def _continued(shown: Rgb, beyond: tuple[int, int, int, int], pane: Box) -> Rgb:
    """``shown`` continued: its rim mirrored, which keeps a photo's grain, fading into its edges repeated and smoothed.

    Edges repeated alone draw a streak for every grain of the photo.
    """
    edges = cv2.copyMakeBorder(shown, *beyond, cv2.BORDER_REPLICATE)
    full = cv2.copyMakeBorder(shown, *beyond, cv2.BORDER_REFLECT_101)
    height, width = full.shape[:2]
    top, bottom, left, right = beyond
    # The farther from the photo, the more along its edge: near it the gradient goes on, and far from it no cloud is a
    # stripe. Across the edge by little, where the photo's own gradient would shift.
    side = max(pane.width, pane.height)
    along = _ALONG if (left + right > 0) != (top + bottom > 0) else _SOFTENED
    radii = (along if top + bottom else _SOFTENED) * side, (along if left + right else _SOFTENED) * side
    small = cv2.resize(edges, (max(1, width // 8), max(1, height // 8)), interpolation=cv2.INTER_AREA)
    near = cv2.GaussianBlur(small, (0, 0), _SOFTENED * side / 8)
    far = cv2.GaussianBlur(small, (0, 0), radii[0] / 8, sigmaY=radii[1] / 8)
    near, far = (cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in (near, far))
    grain = np.random.default_rng(0).integers(-1, 2, (height, width, 1), np.int8)
    # How far into the continued part each pixel is: the photo's own edge stays as it is.
    rows, columns = np.arange(height), np.arange(width)
    down = np.maximum(np.maximum(top - rows, rows - (height - bottom - 1)), 0)
    across = np.maximum(np.maximum(left - columns, columns - (width - right - 1)), 0)
    fading = PLAIN_RIM * min(shown.shape[:2])  # no more of the rim was found to be plain
    spread = _SPREAD * side
    for band in _bands(height):
        distance = np.maximum(down[band, None], across[None, :]).astype(np.float32)
        share = np.minimum(1, distance / fading)[:, :, None]
        if share.any():
            soft = near[band] + (far[band].astype(np.float32) - near[band]) * np.minimum(
                1, distance[:, :, None] / spread
            )
            mixed = full[band] + (soft - full[band] + grain[band]) * share
            full[band] = np.clip(np.rint(mixed), 0, 255)
    return np.asarray(full, np.uint8)


def _colour(layout: Layout, line: Line) -> Channels:
    if line.role == "cta":
        return from_hex(layout.accent_ink)
    if line.role == "offer":
        return from_hex(layout.accent)
    ink, ground = from_hex(layout.ink), from_hex(layout.ground)
    if line.role in ("sub", "note", "legal"):
        mixed = [round(a + (b - a) * _SUB_TOWARDS_GROUND) for a, b in zip(ink, ground, strict=True)]
        return mixed[0], mixed[1], mixed[2]
    return ink


def _pill(image: Image.Image, box: Box, colour: Channels) -> None:
    """A button with smooth ends: drawn four times as large and shrunk."""
    large = Image.new("L", (box.width * 4, box.height * 4))
    ImageDraw.Draw(large).rounded_rectangle((0, 0, large.width - 1, large.height - 1), large.height / 2, fill=255)
    image.paste(colour, (box.left, box.top), large.resize((box.width, box.height), Image.Resampling.BOX))


def _set(image: Image.Image, canvas: ImageDraw.ImageDraw, line: Line, face: Typeface, colour: Channels) -> None:
    font = face.font(line.weight, line.size)
    x = float(line.x)
    run = ""
    for cluster in [*emoji.clusters(line.text), ""]:
        if cluster and not emoji.is_emoji(cluster):
            run += cluster
            continue
        if run:
            canvas.text((x, line.y), run, fill=colour, font=font, anchor="ls")
            x += font.getlength(run)
            run = ""
        if cluster:
            height = round(_EMOJI_SIZE * line.size)
            small = emoji.picture(cluster).resize((round(height * 136 / 128), height), Image.Resampling.LANCZOS)
            image.paste(small, (round(x), round(line.y + _EMOJI_DROP * line.size - height)), small)
            x += emoji.WIDTH * line.size
