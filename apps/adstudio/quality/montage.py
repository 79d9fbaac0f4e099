"""Lays some golden images side by side, for the README.

python apps/adstudio/quality/montage.py docs/images/ads-set.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

GOLDEN = Path(__file__).parent / "golden"
SHOWN = """
figs-price-square brushes-sale-portrait dogs-emoji-portrait serum-brand-square peaks-en-story bag-morning-portrait
astronaut-dream-story dandelion-campaign-landscape rocket-en-square jar-night-square autumn-launch-portrait
peaks-tour-portrait can-zero-landscape dahlia-delivery-square coffee-price-portrait sunset-insurance-portrait
stream-sentence-square pagoda-flights-portrait
"""
WIDTH, HEIGHT, GAP = 1500, 236, 14


def rows(pictures: list[Image.Image]) -> list[list[Image.Image]]:
    """Pictures of one height in rows of at most ``WIDTH`` pixels."""
    found: list[list[Image.Image]] = [[]]
    for picture in pictures:
        if sum(one.width + GAP for one in found[-1]) + picture.width + 2 * GAP > WIDTH:
            found.append([])
        found[-1].append(picture)
    return found


def main(out: Path) -> None:
    pictures = []
    for name in SHOWN.split():
        with Image.open(GOLDEN / f"{name}.jpg") as image:
            size = (round(image.width * HEIGHT / image.height), HEIGHT)
            pictures.append(image.resize(size, Image.Resampling.LANCZOS))
    laid = rows(pictures)
    sheet = Image.new("RGB", (WIDTH, GAP + len(laid) * (HEIGHT + GAP)), (243, 243, 241))
    for y, row in enumerate(laid):
        left = GAP
        for picture in row:
            sheet.paste(picture, (left, GAP + y * (HEIGHT + GAP)))
            left += picture.width + GAP
    sheet.save(out, quality=85)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
