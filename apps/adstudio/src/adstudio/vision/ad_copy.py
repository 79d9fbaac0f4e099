"""The copy of an ad by roles, each text tidy, drawable, and no longer than an ad can carry."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, computed_field

from adstudio.vision import emoji
from adstudio.vision.copytext import check_drawable, has_hangul, says_something, tidy
from adstudio.vision.errors import CopyError, Language
from adstudio.vision.typefaces import PRETENDARD

LONGEST: Final = {"headline": 64, "sub": 110, "offer": 28, "note": 110, "cta": 24, "brand": 32, "legal": 140}
"""Characters of each role at most; longer ones are a text, not an ad."""

OFFERS_JOINT: Final = " · "
"""Between two offers of one copy, which would else be read as one price."""

_NAMES_KO: Final = {
    "headline": "헤드라인",
    "sub": "서브 카피",
    "offer": "혜택 문구",
    "note": "혜택 아래 문구",
    "cta": "버튼 문구",
    "brand": "브랜드",
    "legal": "고지 문구",
}
_NAMES_EN: Final = {"sub": "sub line", "cta": "call to action", "legal": "legal line"}


class AdCopy(BaseModel):
    """The text of an ad. ``headline``, ``sub`` and ``note`` may hold line breaks, which are kept.

    ``note`` is what follows the offer where the copy was one string: it is set below the offer, as it was written.
    ``original`` is that string; none where the client gave the roles.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    headline: str
    sub: str | None = None
    offer: str | None = None
    note: str | None = None
    cta: str | None = None
    brand: str | None = None
    legal: str | None = None
    original: str | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def language(self) -> Language:
        """Korean where there is any Hangul: the language in which its client is told things."""
        return "ko" if has_hangul(self.whole) else "en"

    @property
    def whole(self) -> str:
        """Everything that it says, a role a line."""
        return "\n".join(text for _, text in self.roles())

    def roles(self) -> list[tuple[str, str]]:
        """The roles that are filled, with their texts."""
        return [(role, text) for role in LONGEST if (text := getattr(self, role))]

    def fields(self) -> dict[str, str]:
        """As it is stored."""
        return dict(self.roles())


def copy_of_fields(
    headline: str,
    sub: str | None = None,
    offer: str | None = None,
    cta: str | None = None,
    brand: str | None = None,
    legal: str | None = None,
    note: str | None = None,
) -> AdCopy:
    """The copy whose roles the client filled in; raises ``CopyError``."""
    given = {"headline": headline, "sub": sub, "offer": offer, "note": note, "cta": cta}
    given |= {"brand": brand, "legal": legal}
    kept = ("headline", "sub", "note")  # line breaks in the others would only make a mess of a single line
    tidied = {role: tidy(text or "") for role, text in given.items()}
    copy = {role: text if role in kept else text.replace("\n", " ") for role, text in tidied.items()}
    if not says_something(emoji.without_emoji(copy["headline"])):
        if any(copy.values()):
            raise CopyError(
                "헤드라인에 글자가 없습니다. 글자나 숫자를 적어 주세요.",
                "The headline says nothing: it needs letters or digits.",
            )
        raise CopyError("카피가 비어 있습니다.", "The copy is empty.")
    for role, most in LONGEST.items():
        check_drawable(copy[role], PRETENDARD.covered, emoji.PICTURES)
        if len(copy[role]) > most:
            name = _NAMES_EN.get(role, role)
            raise CopyError(
                f"{_NAMES_KO[role]}의 글자가 너무 많습니다: {len(copy[role])}자이며 {most}자까지 넣을 수 있습니다.",
                f"The {name} is too long: it has {len(copy[role])} characters, at most {most} can be set.",
            )
    return AdCopy.model_validate({role: text for role, text in copy.items() if text})
