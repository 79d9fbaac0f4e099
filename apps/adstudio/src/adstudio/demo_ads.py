"""The inputs of the demonstration: shipped photos, and one of the user's own."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from adstudio.compute import ASSETS
from adstudio.pipeline import ad_creative
from adstudio.vision.copy_reading import read_copy
from adstudio.vision.errors import CopyError, PhotoError
from adstudio.vision.formats import DEFAULT, chosen
from adstudio.vision.photo import MAX_BYTES, open_photo
from adstudio.vision.room import check_room, check_size
from adstudio.vision.variants import VARIANTS
from pgbaton.errors import ConfigError

STEPS = tuple(stage.step for stage in ad_creative().stages)
REVIEWED = ("review", "approved")
"""Where an ad is that a person had to approve."""

SHIPPED: tuple[tuple[str, str, str | dict[str, str], tuple[str, ...]], ...] = (
    ("figs", "figs.jpg", "50% 할인 ₩12,900", ("square", "portrait", "story")),
    (
        "serum",
        "serum.png",
        {
            "headline": "수분 가득, 하루 종일",
            "sub": "LUMI 아쿠아 세럼 30ml",
            "offer": "1+1",
            "cta": "구매하기",
            "brand": "LUMI",
        },
        ("square", "portrait", "story"),
    ),
    ("peaks", "peaks.jpg", "Walk above the clouds. Book now", ("square", "story", "landscape")),
    ("dogs", "dogs.jpg", "우리 집에 놀러 와 🐶💛", ("square", "portrait", "story")),
    ("bag", "coffee-bag.jpg", "아침을 깨우는 한 봉\n한옥커피 원두 200g ₩15,900", ("square", "story", "landscape")),
    ("astronaut", "astronaut.jpg", "꿈은 더 멀리 간다", ("portrait", "story", "landscape")),
)
"""Name, photo, copy (one string, or by roles) and formats."""


@dataclass(frozen=True)
class Made:
    """A finished picture: its format's name, that name for people, its size, its file, and the judge's checks."""

    format: str
    label: str
    width: int
    height: int
    jpeg: bytes
    checks: tuple[dict[str, object], ...]


@dataclass
class Ad:
    """One job of the demonstration; ``seconds`` by step, ``pictures`` once it is finished.

    ``attempt`` counts the calls of the stage that is due or was last; ``dead`` says why no more are made.
    ``review``: a person is to approve it. ``again``: rejected variants that were planned again.
    """

    name: str
    photo: bytes
    copy: str
    fields: dict[str, str] | None = None
    formats: tuple[str, ...] = DEFAULT
    variants: int = VARIANTS
    review: bool = False
    job_id: uuid.UUID = field(default_factory=uuid.uuid4)
    step: str = "img_gen"
    status: str = "running"
    dead: str | None = None
    attempt: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    pictures: list[Made] = field(default_factory=list)
    passed: bool | None = None
    judge: str = ""
    reasons: tuple[str, ...] = ()
    variants_passed: int = 0
    again: int = 0

    @property
    def finished(self) -> bool:
        return self.dead is None and (self.step, self.status) in ((STEPS[-1], "done"), REVIEWED)

    @property
    def ended(self) -> bool:
        return self.dead is not None or self.finished or (self.step, self.status) == (STEPS[-1], "given_up")

    @property
    def reached(self) -> int:
        """How many of the steps are done."""
        if self.step == "review":
            return len(STEPS)
        if self.step == "variants":
            return STEPS.index("overlay")
        return STEPS.index(self.step) + (self.status != "running") if self.step in STEPS else 0


def shipped_ads() -> list[Ad]:
    """The ones that need nothing from the user."""
    ads = []
    for name, photo, copy, formats in SHIPPED:
        text, fields = (copy, None) if isinstance(copy, str) else ("\n".join(copy.values()), copy)
        review = name == SHIPPED[-1][0]
        ads.append(Ad(name, (ASSETS / "photos" / photo).read_bytes(), text, fields, formats, review=review))
    return ads


def own_ad(path: Path, copy: str, *, taken: Collection[str]) -> Ad:
    """The user's own, named as its file is. Raises :class:`ConfigError` where photo or copy is of no use: a job would
    say so too, but later."""
    try:
        with path.open("rb") as file:
            photo = file.read(MAX_BYTES + 1)
        size = open_photo(photo).shape
        formats = chosen(None)
        check_size(size[1], size[0], formats)
        check_room(read_copy(copy), formats)
    except OSError as error:
        raise ConfigError(f"--photo: {path}: {(error.strerror or str(error)).lower()}") from None
    except PhotoError as error:
        raise ConfigError(f"--photo: {path}: {error}") from None
    except CopyError as error:
        raise ConfigError(f"--copy: {error}") from None
    stem = re.sub(r"\W+", "-", path.stem).strip("-")[:40] or "yours"
    names = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3)))
    return Ad(next(name for name in names if name not in taken), photo, copy)
