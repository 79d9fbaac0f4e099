"""``index.html``: every ad in its formats, beside the photo and the copy that it was made of."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Protocol

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

from adstudio.door.texts import name_of_check
from adstudio.vision import emoji
from adstudio.vision.copytext import has_hangul
from adstudio.vision.errors import Language
from adstudio.vision.typefaces import PRETENDARD, Weight


class Picture(Protocol):
    """One format of an ad."""

    @property
    def format(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def jpeg(self) -> bytes: ...
    @property
    def checks(self) -> tuple[dict[str, object], ...]: ...


class Shown(Protocol):
    """The parts of an ad that the page shows."""

    name: str
    photo: bytes
    copy: str
    passed: bool | None
    reasons: tuple[str, ...]
    dead: str | None

    @property
    def pictures(self) -> Sequence[Picture]: ...


_PAGE = """<!doctype html>
<html lang="ko"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>adstudio — {count}</title>
<style>
{fonts}
:root {{ color-scheme: light; --ink: #17181c; --soft: #6b6e76; --line: #e4e5e8; --ground: #f6f6f4 }}
* {{ box-sizing: border-box }}
body {{ font: 400 16px/1.6 Pretendard, sans-serif; color: var(--ink); background: var(--ground); margin: 0;
  word-break: keep-all; overflow-wrap: anywhere }}
main {{ max-width: 76rem; margin: 0 auto; padding: 4.5rem 1.5rem 6rem }}
h1 {{ font-weight: 800; font-size: clamp(2rem, 5vw, 3.4rem); line-height: 1.15; letter-spacing: -.02em; margin: 0 0 .6rem }}
header p {{ color: var(--soft); font-size: 1.06rem; max-width: 44rem; margin: 0 }}
section {{ margin-top: 5rem; border-top: 1px solid var(--line); padding-top: 1.6rem }}
.brief {{ display: flex; gap: 1.4rem; align-items: center; margin-bottom: 1.6rem }}
.brief img {{ width: 5.5rem; height: 5.5rem; object-fit: cover; border-radius: .6rem; background: #fff; flex: none }}
h2 {{ font-weight: 800; font-size: 1.35rem; line-height: 1.35; margin: 0; white-space: pre-line; overflow-wrap: anywhere }}
.brief .emoji {{ width: 1.2em; height: auto; border-radius: 0; background: none; display: inline; vertical-align: -.2em }}
.brief p {{ margin: .2rem 0 0; color: var(--soft); font-size: .9rem }}
.formats {{ display: flex; gap: 1.6rem; align-items: flex-start }}
figure {{ margin: 0; min-width: 0 }}
figure img {{ display: block; width: 100%; height: auto; border-radius: .5rem; box-shadow: 0 1px 2px #0002, 0 12px 32px #0000001c }}
figcaption {{ margin-top: .6rem; font-size: .84rem; color: var(--soft) }}
.none {{ border: 1px dashed var(--line); border-radius: .5rem; padding: 3rem; color: var(--soft) }}
details {{ margin-top: 1.3rem; font-size: .84rem; color: var(--soft) }}
summary {{ cursor: pointer }}
summary b {{ font-weight: 600 }} .passed {{ color: #1a7f37 }} .refused {{ color: #9a6700 }} .dead {{ color: #cf222e }}
table {{ border-collapse: collapse; margin-top: .7rem }} td {{ padding: .12rem 1.2rem .12rem 0; vertical-align: top }}
th {{ text-align: left; font-weight: 600; color: var(--ink); padding: .7rem 0 .2rem }}
td.value {{ white-space: nowrap; text-align: right; font-variant-numeric: tabular-nums }}
@media (max-width: 40rem) {{ .formats {{ flex-direction: column }} figure {{ width: 100% }} }}
</style>
<main>
<header><h1>{title}</h1>{lead}</header>
{sections}
</main>
</html>
"""

_SECTION = """<section id="{name}" lang="{language}">
<div class="brief"><img src="{photo}" alt="{alt}"><div><h2>{copy}</h2><p>{told}</p></div></div>
<div class="formats">{figures}</div>
{verdict}
</section>"""

_SAYS: dict[Language, dict[str, str]] = {
    "ko": {
        "alt": "원본 사진",
        "told": "받은 사진과 카피",
        "none": "만들지 못했습니다.",
        "unfinished": "작업이 끝나지 않았습니다.",
        "passed": "심사 통과",
        "refused": "심사 불통과",
    },
    "en": {
        "alt": "The photo as it came",
        "told": "The photo and the copy as they came",
        "none": "No ad was made.",
        "unfinished": "The job did not reach the end.",
        "passed": "Passed",
        "refused": "Refused",
    },
}
_TITLE = "사진 한 장, 카피 한 줄."
_LEAD = (
    "<p>아래 광고는 모두 사람의 손을 거치지 않고 사진과 카피만으로 만들어졌습니다.</p>"
    '<p lang="en">Every ad on this page was made from a photo and a line of copy, without layout by hand.</p>'
)


def write_gallery(folder: Path, ads: Iterable[Shown]) -> None:
    """Write photos, ads and the page into ``folder``; the page brings the letters that it needs."""
    sections = []
    count = 0
    for ad in ads:
        for stale in folder.glob(f"{ad.name}-*.jpg"):  # an earlier run's
            stale.unlink()
        before = f"{ad.name}-photo{_suffix(ad.photo)}"
        language: Language = "ko" if has_hangul(ad.copy) else "en"
        says = _SAYS[language]
        (folder / before).write_bytes(ad.photo)
        figures = []
        for picture in ad.pictures:
            file = f"{ad.name}-{picture.format}.jpg"
            (folder / file).write_bytes(picture.jpeg)
            count += 1
            figures.append(
                # Each as wide as it is for its height: all formats of an ad are equally high and fill the row.
                f'<figure style="flex: {picture.width / picture.height:.4f} 1 0"><img src="{file}" '
                f'width="{picture.width}" height="{picture.height}" alt="{escape(ad.name)} {escape(picture.label)}">'
                f"<figcaption>{escape(picture.label)} · {picture.width}×{picture.height}</figcaption></figure>"
            )
        sections.append(
            _SECTION.format(
                name=escape(ad.name),
                language=language,
                alt=says["alt"],
                photo=before,
                copy=_with_pictures(ad.copy),
                told=says["told"],
                figures="".join(figures) or f'<p class="none">{says["none"]}</p>',
                verdict=_verdict(ad, language),
            )
        )
    page = _PAGE.format(title=_TITLE, lead=_LEAD, sections="\n".join(sections), fonts="{fonts}", count=f"{count} ads")
    (folder / "index.html").write_text(page.replace("{fonts}", _fonts(page)), encoding="utf-8")


def _with_pictures(text: str) -> str:
    """``text`` for the page, its emoji as small pictures: not every machine has a font of them."""
    parts = []
    for cluster in emoji.clusters(text):
        if not emoji.is_emoji(cluster) or cluster not in emoji.PICTURES:
            parts.append(escape(cluster))
            continue
        stored = io.BytesIO()
        emoji.picture(cluster).resize((68, 64)).save(stored, "PNG")
        source = base64.b64encode(stored.getvalue()).decode()
        parts.append(f'<img class="emoji" src="data:image/png;base64,{source}" alt="{escape(cluster)}">')
    return "".join(parts)


def _verdict(ad: Shown, language: Language) -> str:
    says = _SAYS[language]
    if ad.passed is None:
        told = escape(ad.dead or says["unfinished"])
        return f'<details open><summary><b class="dead">{says["none"]}</b> {told}</summary></details>'
    kind = "passed" if ad.passed else "refused"
    rows = "".join(
        f'<tr><th colspan="3" scope="rowgroup">{escape(picture.label)}</th></tr>'
        + "".join(
            f"<tr><td>{escape(name_of_check(str(check['name']), language))}</td>"
            f'<td class="value">{_value(check["value"])}</td><td>{escape(str(check["reason"]))}</td></tr>'
            for check in picture.checks
        )
        for picture in ad.pictures
        if picture.checks
    )
    return (
        f'<details><summary><b class="{kind}">{says[kind]}</b> · {escape(" ".join(ad.reasons))}</summary>'
        f"<table>{rows}</table></details>"
    )


def _value(value: object) -> str:
    """In as many figures as one reads."""
    return f"{value:.3g}" if isinstance(value, float) else escape(str(value))


def _fonts(page: str) -> str:
    """The typeface's letters that ``page`` uses, as the page's own fonts: it looks the same where no Hangul is."""
    weights: tuple[tuple[int, Weight], ...] = ((400, "SemiBold"), (600, "Bold"), (800, "ExtraBold"))
    return "\n".join(
        f"@font-face {{ font-family: Pretendard; font-weight: {number}; "
        f"src: url(data:font/otf;base64,{base64.b64encode(_subset(weight, page)).decode()}) }}"
        for number, weight in weights
    )


def _subset(weight: Weight, text: str) -> bytes:
    file = PRETENDARD.files[weight]
    with TTFont(io.BytesIO(file) if isinstance(file, bytes) else file, lazy=True) as font:
        subsetter = Subsetter(Options(layout_features=["kern"], name_IDs=[], notdef_outline=True, hinting=False))
        subsetter.populate(text=text)
        subsetter.subset(font)
        out = io.BytesIO()
        font.save(out)
        return out.getvalue()


def _suffix(photo: bytes) -> str:
    return {b"\x89P": ".png", b"RI": ".webp"}.get(photo[:2], ".jpg")
