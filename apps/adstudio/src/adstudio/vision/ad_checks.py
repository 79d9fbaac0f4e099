"""The questions asked of a finished ad, each answered by a number against a limit, in Korean or in English.

The limits were set on the set of ads in ``quality/`` and on the same ads spoilt on purpose; docs/adstudio.md has both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adstudio.vision.errors import Language
from adstudio.vision.formats import Format
from adstudio.vision.measured import check
from adstudio.vision.parting import Doubt
from adstudio.vision.shapes import Check

MOST_OCCLUDED: Final = 0.12  # mean of the judge's own map under the type
MOST_UNREST: Final = 2.5  # grey levels a view pixel, in the busiest of the ground under the type, tint included
BUSIEST: Final = 0.97  # calm ground has 0 to 1.5 at this quantile, a stalk or a mast under the type 5 to 11
BUSIEST_OF_LINE: Final = 0.95  # the same under each single line: a stalk through one is little of the block
MIN_CONTRAST: Final = 4.5  # WCAG 2.2, 1.4.3
MIN_CONTRAST_LARGE: Final = 3.0
LARGE: Final = 18.66  # pixels as seen: WCAG's large text, 14 pt bold
LEAST_SEEN: Final = 8.0  # pixels as seen: the least type that a phone shows legibly
LEAST_SEEN_LEGAL: Final = 6.0
MOST_RAGGED: Final = 0.02  # of the ad's width, between the lines' left ends or middles
SPACE: Final = (0.033, 0.62)  # share of the ad that the block of type takes up
HIERARCHY: Final = (1.45, 4.2)  # headline over sub line
LEAST_OFFER: Final = 0.68  # offer over headline
MOST_BREAKS: Final = 2.6  # sum of the penalties of the line breaks
LEAST_KEPT: Final = 0.9  # of what a detector sees for sure, or of what the copy speaks of
LEAST_READ: Final = 0.8  # likeness of what OCR reads to what was meant
LEAST_READ_SMALL: Final = 0.7  # the same of headline and offer at the width at which the ad is seen
MOST_ENLARGED: Final = 1.55


def resolution(width: int, enlarged: float, format_: Format, language: Language) -> Check:
    """Is the ad large enough for its platform, and the photo for the ad?"""
    passed = width >= format_.smallest and enlarged <= MOST_ENLARGED
    return check(
        "resolution", enlarged, MOST_ENLARGED, "pixels of the ad for one of the photo, at most", language,
        f"{format_.ko} 광고의 가로는 {width}픽셀(최소 {format_.smallest})이고 사진은 {enlarged:.2f}배로 쓰였습니다.",
        f"The ad is {width} px wide (at least {format_.smallest}), the photo is enlarged {enlarged:.2f} times.",
        passed=passed,
    )  # fmt: skip


def safe_area(beyond: int, format_: Format, language: Language) -> Check:
    """Does the type keep out of the parts that the platform covers? ``beyond``: pixels by which it does not."""
    return check(
        "safe_area", beyond, 2, "px of the type beyond the safe area, at most", language,
        f"글자가 {format_.ko}의 안전 영역을 {beyond}픽셀 벗어났습니다." if beyond > 2 else "글자가 안전 영역 안에 있습니다.",
        f"The type is {beyond} px beyond the safe area." if beyond > 2 else "The type is within the safe area.",
        passed=beyond <= 2,
    )  # fmt: skip


def occlusion(share: float, language: Language) -> Check:
    """Does the type leave the subject free, by a map that the planner did not use?"""
    passed = share <= MOST_OCCLUDED
    return check(
        "occlusion", share, MOST_OCCLUDED, "mean of a second subject map under the type, at most", language,
        "글자가 주요 피사체를 가리지 않습니다." if passed else f"글자가 주요 피사체를 가립니다({share:.2f}).",
        "The type leaves the subject free." if passed else f"The type covers the subject ({share:.2f}).",
        passed=passed,
    )  # fmt: skip


def faces(covered: int, cut: int, language: Language) -> Check:
    """Is every face whole and free? ``covered``: pixels of ink on faces, ``cut``: faces that an edge runs through."""
    wrong = covered + cut
    return check(
        "faces", wrong, 0, "px of type on faces, and faces cut, at most", language,
        f"얼굴 위에 글자가 있거나({covered}픽셀) 얼굴이 잘렸습니다({cut}명)." if wrong else "얼굴을 가리거나 자르지 않았습니다.",
        f"Type on faces: {covered} px; faces cut: {cut}." if wrong else "No face is covered or cut.",
        passed=not wrong,
    )  # fmt: skip


def subject_kept(share: float, language: Language) -> Check:
    """Does the crop show the things that are seen for sure, or that the copy names?"""
    passed = share >= LEAST_KEPT
    return check(
        "subject_kept", share, LEAST_KEPT, "share of the things seen that is inside the picture, at least", language,
        f"사진의 주요 부분이 {share:.0%} 보입니다." if passed else f"사진의 주요 부분이 {share:.0%}만 보입니다.",
        f"The crop shows {share:.0%} of the subject.",
        passed=passed,
    )  # fmt: skip


def readability(unrest: float, language: Language) -> Check:
    """Is the ground under the type calm?"""
    passed = unrest <= MOST_UNREST
    return check(
        "readability", unrest, MOST_UNREST, "grey levels a view pixel in the busiest of the ground under the type, at most", language,
        f"글자 뒤 배경이 {'차분합니다' if passed else '너무 복잡합니다'}({unrest:.1f}).",
        f"The ground under the type is {'calm' if passed else 'too busy'} ({unrest:.1f}).",
        passed=passed,
    )  # fmt: skip


def contrast(worst: float, limit: float, line: str, language: Language) -> Check:
    """Has every line contrast enough? ``worst`` is the line's that is furthest under its own ``limit``."""
    passed = worst >= limit
    return check(
        "contrast", worst, limit, "WCAG contrast, at least", language,
        f"글자 대비는 가장 낮은 곳이 {worst:.1f}:1입니다." if passed else f"“{line[:20]}”의 대비가 {worst:.1f}:1로 낮습니다(기준 {limit}).",
        f"The least contrast is {worst:.1f}." if passed else f"The contrast of “{line[:20]}” is {worst:.1f}; {limit} is needed.",
        passed=passed,
    )  # fmt: skip


def size(seen: float, limit: float, line: str, language: Language) -> Check:
    """Is the smallest type large enough where the ad is seen? ``seen`` in pixels there."""
    passed = seen >= limit
    return check(
        "size", seen, limit, "px as seen, at least", language,
        f"가장 작은 글자가 휴대폰에서 {seen:.1f}픽셀입니다." if passed else f"“{line[:20]}”이(가) 휴대폰에서 {seen:.1f}픽셀로 너무 작습니다.",
        f"The smallest type is seen at {seen:.1f} px." if passed else f"“{line[:20]}” is seen at {seen:.1f} px: too small.",
        passed=passed,
    )  # fmt: skip


def hierarchy(headline_to_sub: float | None, offer_to_headline: float | None, language: Language) -> Check:
    """Does the eye find the headline first, and is the offer loud enough?"""
    ratio = headline_to_sub if headline_to_sub is not None else HIERARCHY[0]
    weak_offer = offer_to_headline is not None and offer_to_headline < LEAST_OFFER
    passed = HIERARCHY[0] <= ratio <= HIERARCHY[1] and not weak_offer
    return check(
        "hierarchy", ratio, HIERARCHY[0], f"headline over sub line, at least, and at most {HIERARCHY[1]}", language,
        "헤드라인, 서브 카피, 혜택의 크기 차이가 뚜렷합니다." if passed else "글자 크기의 위계가 뚜렷하지 않습니다.",
        "Headline, sub line and offer differ clearly in size." if passed else "The sizes of the type show no order.",
        passed=passed,
    )  # fmt: skip


def alignment(ragged: float, language: Language) -> Check:
    """Do the lines stand on one axis? ``ragged`` is the largest distance from it over the ad's width."""
    passed = ragged <= MOST_RAGGED
    return check(
        "alignment", ragged, MOST_RAGGED, "of the width, between the lines' axes, at most", language,
        "글줄이 한 축에 맞습니다." if passed else "글줄이 한 축에 맞지 않습니다.",
        "The lines stand on one axis." if passed else "The lines do not stand on one axis.",
        passed=passed,
    )  # fmt: skip


def white_space(share: float, language: Language) -> Check:
    """Is the type neither lost nor crammed? ``share`` of the ad that its block takes up."""
    passed = SPACE[0] <= share <= SPACE[1]
    return check(
        "white_space", share, SPACE[0] if share < SPACE[0] else SPACE[1], f"of the ad, {SPACE[0]} to {SPACE[1]}", language,
        f"글자가 광고의 {share:.0%}를 차지합니다." if passed else f"글자가 광고의 {share:.0%}를 차지해 {'너무 작습니다' if share < SPACE[0] else '너무 빽빽합니다'}.",
        f"The type takes up {share:.0%} of the ad{'' if passed else ': too little' if share < SPACE[0] else ': too much'}.",
        passed=passed,
    )  # fmt: skip


def breaks(badness: float, lines: tuple[str, ...], language: Language) -> Check:
    """Are the headline's lines broken where one breathes?"""
    passed = badness <= MOST_BREAKS
    told = " / ".join(lines)
    return check(
        "breaks", badness, MOST_BREAKS, "penalties of the headline's breaks, at most", language,
        "줄바꿈이 자연스럽습니다." if passed else f"줄바꿈이 어색합니다: {told}",
        "The lines break well." if passed else f"The lines break badly: {told}",
        passed=passed,
    )  # fmt: skip


def wording(same: bool, language: Language) -> Check:
    """Was the whole copy set, and nothing else?"""
    return check(
        "wording", float(same), 1, "1 when the whole copy was set, at least", language,
        "카피가 빠짐없이 들어갔습니다." if same else "들어간 글이 카피와 다릅니다.",
        "The whole copy was set." if same else "What was set is not the copy.",
        passed=same,
    )  # fmt: skip


def parting(signs: Sequence[Doubt], language: Language) -> Check:
    """Was a copy that came as one string read as its author meant it? ``signs`` of doubt; a person has to confirm."""
    told = " ".join(sign.told(language) for sign in signs[:3])
    return check(
        "parting", len(signs), 0, "signs of doubt about the roles, at most", language,
        f"카피를 제대로 나누었는지 확인해 주세요. {told}" if signs else "카피가 원문대로 나뉘었습니다.",
        f"Please confirm how the copy was read. {told}" if signs else "The copy is parted as it was written.",
        passed=not signs,
    )  # fmt: skip


def read_back(value: float, line: str, language: Language, *, small: bool = False) -> Check:
    """Does OCR read the copy, at the ad's size or as it is seen on a phone?"""
    limit = LEAST_READ_SMALL if small else LEAST_READ
    passed = value >= limit
    where_ko, where_en = ("휴대폰 크기에서 ", " at a phone's size") if small else ("", "")
    return check(
        "read_small" if small else "read_back", value, limit, "likeness of what OCR reads, at least", language,
        f"글자가 {where_ko}{value:.0%} 읽힙니다." if passed else f"글자가 {where_ko}잘 읽히지 않습니다: “{line[:20]}” ({value:.0%}).",
        f"OCR reads {value:.0%} of the type{where_en}." if passed else f"OCR does not read “{line[:20]}”{where_en} ({value:.0%}).",
        passed=passed,
    )  # fmt: skip
