"""Draws the product shots of the quality set: invented products, so that the set has packshots free to ship.

python apps/adstudio/quality/packshots.py apps/adstudio/src/adstudio/assets/photos
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONTS = Path(__file__).parents[1] / "src/adstudio/assets/fonts"
SIZE = 1400


def face(weight: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS / f"Pretendard-{weight}.otf"), size)


def cylinder(width: int, height: int, colour: tuple[int, int, int], shine: float = 0.5) -> Image.Image:
    """A body lit from the left: darker at its rims, with a highlight a third of the way in."""
    x = np.linspace(-1, 1, width)
    light = 0.62 + 0.38 * np.sqrt(1 - np.clip(np.abs(x) * 0.98, 0, 1) ** 2) - 0.12 * np.clip(x, 0, 1)
    glow = shine * np.exp(-(((x + 0.45) / 0.13) ** 2)) + 0.25 * shine * np.exp(-(((x - 0.72) / 0.06) ** 2))
    row = np.clip(np.array(colour)[None, :] * light[:, None] + 255 * glow[:, None] * 0.55, 0, 255)
    body = np.repeat(row[None], height, axis=0)
    body *= (1 - 0.08 * np.linspace(0, 1, height) ** 2)[:, None, None]
    return Image.fromarray(body.astype(np.uint8))


def rounded(image: Image.Image, radius: int) -> Image.Image:
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, image.width - 1, image.height - 1), radius, fill=255)
    image.putalpha(mask)
    return image


def label(image: Image.Image, lines: list[tuple[str, str, int, int]], ink: tuple[int, int, int]) -> None:
    draw = ImageDraw.Draw(image)
    for text, weight, size, y in lines:
        draw.text((image.width / 2, y), text, font=face(weight, size), fill=ink, anchor="mm")


def serum() -> Image.Image:
    """A dropper bottle, cut out."""
    picture = Image.new("RGBA", (900, SIZE))
    bottle = rounded(cylinder(420, 700, (196, 120, 62), 0.75), 46)
    paper = rounded(cylinder(420, 380, (250, 244, 235), 0.12), 4)
    label(
        paper,
        [("LUMI", "Black", 96, 120), ("AQUA SERUM", "Bold", 36, 210), ("30 ml", "SemiBold", 32, 300)],
        (62, 44, 30),
    )
    bottle.paste(paper, (0, 200), paper)
    picture.paste(bottle, (240, 620), bottle)
    for part, width, height, y, colour in (
        ("neck", 170, 70, 556, (210, 205, 198)),
        ("collar", 210, 120, 444, (36, 34, 34)),
        ("bulb", 130, 260, 196, (48, 46, 46)),
    ):
        piece = rounded(cylinder(width, height, colour, 0.5), 60 if part == "bulb" else 12)
        picture.paste(piece, (450 - width // 2, y), piece)
    return picture


def jar() -> Image.Image:
    """A cream jar on white, as from a light box."""
    picture = Image.new("RGB", (SIZE, SIZE), (252, 252, 251))
    shadow = Image.new("L", picture.size)
    ImageDraw.Draw(shadow).ellipse((380, 1010, 1020, 1090), fill=120)
    picture.paste((120, 116, 112), mask=shadow.filter(ImageFilter.GaussianBlur(26)))
    body = rounded(cylinder(560, 330, (214, 226, 216), 0.35), 60)
    label(body, [("MOON", "Black", 92, 140), ("overnight cream", "SemiBold", 38, 225)], (60, 84, 72))
    picture.paste(body, (420, 720), body)
    lid = rounded(cylinder(580, 150, (246, 243, 236), 0.25), 26)
    picture.paste(lid, (410, 580), lid)
    return picture


def can() -> Image.Image:
    """A drink can, cut out."""
    picture = Image.new("RGBA", (800, SIZE))
    body = rounded(cylinder(460, 880, (24, 92, 178), 0.6), 40)
    label(
        body,
        [("ONDA", "Black", 128, 330), ("sparkling", "SemiBold", 50, 440), ("yuja · 355 ml", "SemiBold", 38, 760)],
        (255, 255, 255),
    )
    ImageDraw.Draw(body).ellipse((150, 540, 310, 700), fill=(255, 206, 60))
    picture.paste(body, (170, 330), body)
    for width, height, y in ((420, 60, 285), (400, 40, 1190)):
        rim = rounded(cylinder(width, height, (196, 200, 206), 0.6), 18)
        picture.paste(rim, (400 - width // 2, y), rim)
    return picture


def coffee_bag() -> Image.Image:
    """A bag of coffee before a dark green wall."""
    y = np.linspace(0, 1, 1600)[:, None]
    x = np.linspace(-1, 1, 1200)[None]
    light = 0.75 + 0.35 * np.exp(-((x + 0.2) ** 2 + (y - 0.42) ** 2 * 2)) - 0.25 * np.clip((y - 0.86) * 6, 0, 1)
    wall = np.clip(np.array((20, 66, 60))[None, None] * light[:, :, None] * 1.25, 0, 255).astype(np.uint8)
    picture = Image.fromarray(wall)
    shadow = Image.new("L", picture.size)
    ImageDraw.Draw(shadow).ellipse((300, 1425, 900, 1500), fill=170)
    picture.paste((6, 22, 20), mask=shadow.filter(ImageFilter.GaussianBlur(22)))
    bag = rounded(cylinder(520, 720, (206, 168, 118), 0.12), 18)
    label(
        bag,
        [("HANOK", "Black", 96, 250), ("COFFEE", "Bold", 48, 330), ("house blend 200 g", "SemiBold", 34, 560)],
        (66, 40, 20),
    )
    ImageDraw.Draw(bag).rectangle((0, 70, 520, 80), fill=(170, 132, 86))
    picture.paste(bag, (340, 740), bag)
    return picture


def main(folder: Path) -> None:
    serum().save(folder / "serum.png", optimize=True)
    can().save(folder / "can.png", optimize=True)
    jar().save(folder / "jar.jpg", quality=90)
    coffee_bag().save(folder / "coffee-bag.jpg", quality=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
