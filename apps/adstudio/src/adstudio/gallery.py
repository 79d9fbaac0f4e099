"""``index.html``: every ad beside the photo that it was made of."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Protocol


class Shown(Protocol):
    """What the page shows of an ad."""

    name: str
    photo: bytes
    copy: str
    image: bytes | None
    passed: bool | None
    judge: str
    reasons: tuple[str, ...]
    dead: str | None


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>adstudio: before and after</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }}
section {{ display: grid; grid-template-columns: 1fr 1fr; gap: .5rem 1rem; margin: 2.5rem 0 }}
h2, .verdict {{ grid-column: 1 / -1; margin: 0 }}
img {{ width: 100%; border-radius: .4rem }}
figure {{ margin: 0 }} figcaption, .verdict {{ color: gray; font-size: .9rem }}
@media (max-width: 40rem) {{ section {{ grid-template-columns: 1fr }} }}
</style>
<h1>Before and after</h1>
{sections}
</html>
"""

_SECTION = """<section>
<h2>{copy}</h2>
<figure><img src="{before}" alt="the photo {name}"><figcaption>before</figcaption></figure>
<figure>{after}<figcaption>after</figcaption></figure>
<p class="verdict">{verdict}</p>
</section>"""


def write_gallery(folder: Path, ads: Iterable[Shown]) -> None:
    """Write photos, ads and the page into ``folder``."""
    sections = []
    for ad in ads:
        before, after = f"{ad.name}-before{_suffix(ad.photo)}", f"{ad.name}-ad.jpg"
        (folder / before).write_bytes(ad.photo)
        if ad.image is not None:
            (folder / after).write_bytes(ad.image)
        picture = f'<img src="{after}" alt="the ad {escape(ad.name)}">' if ad.image else "<p>no ad was made</p>"
        verdict = ad.dead or f"{'passed' if ad.passed else 'not passed'}, by {ad.judge}: {' '.join(ad.reasons)}"
        sections.append(
            _SECTION.format(
                copy=escape(ad.copy), name=escape(ad.name), before=before, after=picture, verdict=escape(verdict)
            )
        )
    (folder / "index.html").write_text(_PAGE.format(sections="\n".join(sections)), encoding="utf-8")


def _suffix(photo: bytes) -> str:
    return {b"\x89P": ".png", b"RI": ".webp"}.get(photo[:2], ".jpg")
