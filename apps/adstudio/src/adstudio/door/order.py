"""A client's order: a photo, a copy by roles, formats. Checked at the door, told in the client's language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adstudio.door.texts import TEXTS
from adstudio.vision.ad_copy import LONGEST, AdCopy, copy_of_fields
from adstudio.vision.copytext import has_hangul, says_something
from adstudio.vision.errors import InputError, Language
from adstudio.vision.formats import chosen
from adstudio.vision.variants import VARIANTS
from adstudio.vision.vlm import VisionModel
from adstudio.vision.vlm_copy import read_with

ROLES = tuple(LONGEST)


class OrderError(InputError):
    """Something of an order is missing or unknown."""


@dataclass(frozen=True, slots=True)
class Order:
    """Everything but the photo."""

    copy: AdCopy
    formats: tuple[str, ...]
    variants: int = 1
    review: bool = False


def language_of(texts: Mapping[str, str], preferred: Language) -> Language:
    """The language of the answer: as asked for, else the copy's, else the one that the client prefers."""
    match texts.get("language"):
        case "ko":
            return "ko"
        case "en":
            return "en"
    copy = " ".join(texts.get(name, "") for name in ("copy", *ROLES))
    if has_hangul(copy):
        return "ko"
    return "en" if any(char.isalpha() for char in copy) else preferred


async def read_order(texts: Mapping[str, str], formats: Sequence[str], model: VisionModel | None = None) -> Order:
    """The order in a form's texts; raises ``InputError``."""
    copy = await read_texts(texts, model)
    return Order(copy, _formats(formats), _variants(texts), _review(texts))


async def read_texts(texts: Mapping[str, str], model: VisionModel | None = None) -> AdCopy:
    """The copy in a form's texts; raises ``InputError``. Roles are taken as they are, ``copy`` is read: by ``model``
    where there is one."""
    roles = {role: texts.get(role, "") for role in ROLES}
    if any(text.strip() for text in roles.values()):
        if texts.get("copy", "").strip():
            raise OrderError(
                "카피는 한 줄로 보내거나 역할별로 나누어 보내 주세요. 둘 다 보낼 수는 없습니다.",
                "Send the copy as one string or by roles, not both.",
            )
        copy = copy_of_fields(**roles)
    else:
        copy = await read_with(model, texts.get("copy", ""))
    if not says_something(copy.whole):
        raise OrderError("카피에 글자가 없습니다.", "The copy has no letters.")
    return copy


def no_photo() -> OrderError:
    """For an order that came without one."""
    return OrderError(
        "사진이 없습니다. JPEG, PNG, WebP 사진을 보내 주세요.", "There is no photo: send a JPEG, PNG or WebP."
    )


def no_tenant() -> OrderError:
    """For an order that names no tenant, or one that no tenant can be called."""
    return OrderError(*TEXTS["fault.no_tenant"])


def _formats(given: Sequence[str]) -> tuple[str, ...]:
    asked = [name.strip() for text in given for name in text.split(",") if name.strip()]
    return tuple(format_.name for format_ in chosen([name[:40] for name in asked[:40]]))


def _variants(texts: Mapping[str, str]) -> int:
    given = texts.get("variants", "").strip() or "1"
    if given not in map(str, range(1, VARIANTS + 1)):
        raise OrderError(f"variants는 1부터 {VARIANTS}까지입니다.", f"variants must be 1 to {VARIANTS}.")
    return int(given)


def _review(texts: Mapping[str, str]) -> bool:
    given = texts.get("review", "").strip().lower()
    if given not in ("", "true", "false", "on"):
        raise OrderError("review는 true 또는 false입니다.", "review must be true or false.")
    return given in ("true", "on")
