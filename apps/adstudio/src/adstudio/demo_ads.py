"""What the demonstration makes ads of: four shipped photos, and one of the user's own."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from adstudio.pipeline import ad_creative
from adstudio.studio import ASSETS, FONT
from adstudio.vision.errors import CopyError, PhotoError
from adstudio.vision.font import covered
from adstudio.vision.photo import MAX_BYTES, open_photo
from adstudio.vision.setting_text import drawable
from pgbaton.errors import ConfigError

STEPS = tuple(stage.step for stage in ad_creative().in_order)

SHIPPED = (
    ("coffee", "Slow mornings start here"),
    ("chelsea", "고양이도 반한 포근함"),
    ("rocket", "Reach for more"),
    ("astronaut", "꿈은 더 멀리 간다"),
)


@dataclass
class Ad:
    """One job of the demonstration; ``seconds`` by step, ``image`` once it is finished.

    ``attempt`` counts the calls of the stage that is due or was last; ``dead`` says why no more are made.
    """

    name: str
    photo: bytes
    copy: str
    job_id: uuid.UUID = field(default_factory=uuid.uuid4)
    step: str = "img_gen"
    status: str = "running"
    dead: str | None = None
    attempt: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    image: bytes | None = None
    passed: bool | None = None
    judge: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        return self.dead is None and (self.step, self.status) == (STEPS[-1], "done")

    @property
    def ended(self) -> bool:
        return self.dead is not None or self.finished

    @property
    def reached(self) -> int:
        """How many of the steps are done."""
        return STEPS.index(self.step) + (self.status == "done") if self.step in STEPS else 0


def shipped_ads() -> list[Ad]:
    """The four that need nothing from the user."""
    return [Ad(name, (ASSETS / "photos" / f"{name}.jpg").read_bytes(), copy) for name, copy in SHIPPED]


def own_ad(path: Path, copy: str, *, taken: Collection[str]) -> Ad:
    """The user's own, named as its file is. Raises :class:`ConfigError` where photo or copy is of no use: a job would
    say so too, but only after its last attempt."""
    try:
        with path.open("rb") as file:
            photo = file.read(MAX_BYTES + 1)
        open_photo(photo)
        drawable(copy, covered(FONT))
    except OSError as error:
        raise ConfigError(f"--photo: {path}: {(error.strerror or str(error)).lower()}") from None
    except PhotoError as error:
        raise ConfigError(f"--photo: {path}: {error}") from None
    except CopyError as error:
        raise ConfigError(f"--copy: {error}") from None
    stem = re.sub(r"\W+", "-", path.stem).strip("-")[:40] or "yours"
    names = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3)))
    return Ad(next(name for name in names if name not in taken), photo, copy)
