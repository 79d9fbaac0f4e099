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
:root {{ color-scheme: light dark; --soft: light-dark(#666, #aaa) }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem }}
h1, h2 {{ line-height: 1.25; overflow-wrap: anywhere }}
section {{ display: grid; grid-template-columns: 1fr 1fr; gap: .6rem 1rem; margin: 3rem 0 }}
h2, .verdict {{ grid-column: 1 / -1; margin: 0 }}
img {{ width: 100%; border-radius: .4rem; display: block }}
figure {{ margin: 0 }} figcaption {{ margin-top: .25rem }}
figcaption, .verdict, header p {{ color: var(--soft); font-size: .9rem; overflow-wrap: anywhere }}
.none {{ border: 1px dashed var(--soft); border-radius: .4rem; padding: 3rem 1rem; margin: 0; text-align: center }}
b {{ font-weight: 600 }}
.passed {{ color: light-dark(#1a7f37, #3fb950) }}
.refused {{ color: light-dark(#9a6700, #d29922) }}
.dead {{ color: light-dark(#cf222e, #f85149) }}
@media (max-width: 40rem) {{ section {{ grid-template-columns: 1fr }} }}
</style>
<header>
<h1>Before and after</h1>
<p>{steps}: each step is an HTTP call that pgbaton made because the job's row had changed.</p>
</header>
{sections}
</html>
"""

_SECTION = """<section>
<h2>{copy}</h2>
<figure><img src="{before}" alt="the photo {name}"><figcaption>the photo</figcaption></figure>
<figure>{after}<figcaption>the ad</figcaption></figure>
<p class="verdict">{verdict}</p>
</section>"""


def write_gallery(folder: Path, ads: Iterable[Shown], steps: Iterable[str]) -> None:
    """Write photos, ads and the page into ``folder``; ``steps`` are told in its head."""
    sections = []
    for ad in ads:
        before, after = f"{ad.name}-before{_suffix(ad.photo)}", f"{ad.name}-ad.jpg"
        (folder / before).write_bytes(ad.photo)
        (folder / after).unlink(missing_ok=True)  # an earlier run's
        if ad.image is not None:
            (folder / after).write_bytes(ad.image)
        picture = f'<img src="{after}" alt="the ad {escape(ad.name)}">'
        sections.append(
            _SECTION.format(
                copy=escape(ad.copy),
                name=escape(ad.name),
                before=before,
                after=picture if ad.image else '<p class="none">no ad was made</p>',
                verdict=_verdict(ad),
            )
        )
    page = _PAGE.format(sections="\n".join(sections), steps=escape(" → ".join(steps)))
    (folder / "index.html").write_text(page, encoding="utf-8")


def _verdict(ad: Shown) -> str:
    if ad.passed is None:
        return f'<b class="dead">No ad.</b> {escape(ad.dead or "The job did not reach the end.")}'
    word = '<b class="passed">Passed</b>' if ad.passed else '<b class="refused">Refused</b>'
    return f"{word} by {escape(ad.judge)}. {escape(' '.join(ad.reasons))}"


def _suffix(photo: bytes) -> str:
    return {b"\x89P": ".png", b"RI": ".webp"}.get(photo[:2], ".jpg")
