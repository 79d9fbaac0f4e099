"""Where a line may end: penalties between words, and the lines that have the least of them.

A break is bad where it parts words that are read in one breath: a number from its unit, a determiner from its noun, a
modifier from what it modifies. Penalties were set by an art director's marks on 47 ads; a sum over 2 looks wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise
from math import inf, sqrt
from typing import Final

from adstudio.vision.copytext import has_hangul
from adstudio.vision.emoji import is_emoji


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


Measure = Callable[[str], float]
"""The width of a text in ems."""

ACCEPTABLE: Final = 2.0
"""The sum of penalties above which a setting looks wrong."""

_OWN_LINE_DIVIDED: Final = 1.5
_MOST_WORDS: Final = 14  # of a text whose every division is tried; longer ones are set as running text
_BINDS_NEXT: Final = _words(
    "한 두 세 네 첫 이 그 저 각 새 이번 지난 다음 최대 연 월 단 오직 최저 가장 약 더 안 못 잘 꼭 딱 참 온 매 전 총",
    "제 내 네 다섯 여섯 일곱 여덟 아홉 열 스무 스물 서른 마흔 쉰 우리 모든 어느 어떤",
    "a an the of to in on at for with by from and or no is are be it's",
)
_BOUND: Final = _words(
    "수 것 때 뿐 만큼 줄 중 곳 잔 개 봉 권 명 분 시간 할인 OFF 룩 동안 이상 이하 미만 원 년 월 일 주 박 층 평 대 회",
    "번 번째 째 차례 가지 채 즈음 무렵 전 후 날 듯 데 적 척 세일 적립 증정 종일 내내 만에",
)
_LEANS: Final = _words("your our my his her their every only")
_COMPLETES: Final = _words("없는 없이 있는 같은 위한 좋은 되는 하는 하지 않는 아닌 보다 처럼 없다 있다 하다 되어")
_AUXILIARY: Final = _words("온 간 난 본 둔 싶은 싶다 싶어 있는 있다 있어요 나면 나서 가는 오는")  # 두고 온, 먹고 싶은
_COUNTED: Final = re.compile(r"\d[\d,.]*[가-힣]{1,2}")
_CASED: Final = re.compile(r"[가-힣]+[이가을를에]")
_PREDICATE: Final = re.compile(r"[가-힣]{0,2}[다요죠자라까]")  # a short verb that ends the sentence
_BOUND_CASED: Final = re.compile(
    r"(?:수|것|곳|줄|때|뿐|분|중|동안)(?:이|가|은|는|을|를|에|도|만|니|니까요?)+|(?:전|후|뒤|만큼|때문|덕분)(?:에|에는|까지|부터)"
)
_GOVERNS: Final = _words(
    "위해 위해서 위하여 대한 대해 대하여 통해 통한 관한 향한 향해 따른 따라 대신"
)  # 나를 위해, 숲을 통한
_COUNTERS: Final = _words("개 잔 병 권 장 명 벌 켤레 봉 봉지 송이 마리 대 통 줄 편 그릇 판 캔 팩")
_CONNECTS: Final = re.compile(r"[가-힣]{1,4}(?:면|고|서|며|니|는|으로)")  # 세 권 사면
_NEGATES: Final = re.compile(r"[않못]|말[고아]|마(?:세요|라|십시오)?[.!]?$")  # 깨우지 마세요, 걷지 말고
_NUMBER: Final = re.compile(r"[\d.,₩$€+]+%?")
_DATE: Final = re.compile(r"\d{1,2}(?:월|[./]\d)")  # one breathes before it: 자전거 대회 / 4월 19일
_MONTHS: Final = _words(
    "January February March April May June July August September October November December",
    "Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec",
)
_ADNOMINAL: Final = re.compile(r"[가-힣]*[은는을운한할올쉬인된던긴린진친킨힌른든]$")


def penalty(before: str, after: str) -> float:
    """How bad it is to end a line with ``before`` and begin the next with ``after``; negative is good."""
    bare, next_ = before.rstrip(",.!?…"), after.rstrip(",.!?…~")
    cost = 0.0
    if before != bare:
        cost -= 1.0
    if after[0] in "—–-·/)&+" or before[-1] in "—–-·/&+(":
        cost += 3.0
    if "(" in before and ")" not in before:
        cost += 2.0
    if is_emoji(after):
        cost += 3.0
    if before == bare and (bare.lower() in _BINDS_NEXT or _NUMBER.fullmatch(bare)):
        cost += 3.0
    if next_ in _BOUND or _BOUND_CASED.fullmatch(next_):
        cost += 2.5
    if before == bare and _COUNTED.fullmatch(bare):
        cost += 1.0
    if before == bare and _CASED.fullmatch(bare) and _PREDICATE.fullmatch(next_):
        cost += 1.6
    if len(bare) > 1 and bare.endswith("고") and next_ in _AUXILIARY:
        cost += 1.6
    if len(bare) > 1 and bare.endswith("지") and _NEGATES.match(next_):
        cost += 2.0
    if bare.endswith(("와", "과")) and next_.startswith("함께"):
        cost += 1.5
    if before == bare and bare in _COUNTERS and _CONNECTS.fullmatch(next_):
        cost += 1.4
    if next_ in _GOVERNS:
        cost += 1.6
    if before == bare and len(bare) > 2 and bare.endswith("면"):
        cost -= 0.6  # a condition ends where one breathes
    if before == bare and bare.endswith("의") and len(bare) > 1:
        cost += 1.5
    if bare.lower() in _LEANS:
        cost += 1.0
    if next_ in _COMPLETES:
        cost += 1.2
    if before == bare and _ADNOMINAL.search(bare):
        cost += 0.7 if len(bare) > 1 else 2.5
    if has_hangul(bare[-1:]) and after[0].isdigit():
        cost += 0.0 if _DATE.match(after) else 0.8
    if bare in _MONTHS and after[0].isdigit():
        cost += 3.0
    elif before == bare and bare.isascii() and bare.isalpha() and after[0].isdigit():
        cost += 1.6  # kids 8 and up, Saturdays 10am
    if before == bare and len(bare) > 1 and bare.endswith("러") and after[0] in "가갑갈간오온올와왔":
        cost += 2.0  # 보러 가요
    if before == bare and len(after) > 1 and after.endswith(","):
        cost += 0.8  # 우리 회사 / 로고, 3일이면
    if bare[-1:].isascii() and bare[-1:].isalpha() and after[:1].isascii() and after[:1].islower():
        cost += 0.4
    return cost


@dataclass(frozen=True, slots=True)
class Broken:
    """Lines, and how bad their breaks are."""

    lines: tuple[str, ...]
    badness: float


@lru_cache(maxsize=4096)
def _divisions(text: str, most: int) -> tuple[tuple[float, tuple[str, ...]], ...]:
    """Every way to set ``text`` on up to ``most`` lines, with the badness that does not depend on widths."""
    words = text.split(" ")
    found = []
    for count in range(1, min(most, len(words)) + 1):
        for cuts in combinations(range(1, len(words)), count - 1):
            lines = tuple(" ".join(words[a:b]) for a, b in zip((0, *cuts), (*cuts, len(words)), strict=True))
            found.append((sum(penalty(words[cut - 1], words[cut]) for cut in cuts) + _shape(lines), lines))
    return tuple(found)


def _shape(lines: Sequence[str]) -> float:
    if len(lines) == 1:
        return 0.0
    letters = [len(line.replace(" ", "")) for line in lines]
    ladder = len(lines) > 2 and sum(" " not in line for line in lines) >= 2
    words = sum(line.count(" ") + 1 for line in lines)
    chopped = 1.6 if words <= 3 and not any(map(has_hangul, lines)) else 0.0
    stray = " " not in lines[-1] and letters[-1] < 0.5 * max(letters) and letters[-1] < 6
    return 0.35 * (len(lines) - 1) + 0.8 * stray + 1.2 * (min(letters) < 3) + chopped + 1.2 * ladder


def broken(text: str, measure: Measure, limit: float, most: int) -> Broken | None:
    """The best lines of ``text`` within ``limit`` ems, at most ``most``; None where there are none.

    The author's own line breaks are kept; each of his lines may be divided further only where it must.
    """
    own = text.split("\n")
    if len(own) > 1:
        return _authors(own, measure, limit, most)
    if len(text.split(" ")) > _MOST_WORDS:
        return _running(text, measure, limit, most)
    best: Broken | None = None
    for badness, lines in _divisions(text, most):
        if best is not None and badness >= best.badness:
            continue
        widths = [measure(line) for line in lines]
        if max(widths) <= limit:
            total = badness + (2.2 * _spread(widths) / max(widths) if len(widths) > 1 else 0.0)
            if best is None or total < best.badness:
                best = Broken(lines, total)
    return best


def _spread(widths: Sequence[float]) -> float:
    """The standard deviation; that of the library reckons with fractions and took half of the time of setting type."""
    mean = sum(widths) / len(widths)
    return sqrt(sum((width - mean) ** 2 for width in widths) / len(widths))


def _authors(own: list[str], measure: Measure, limit: float, most: int) -> Broken | None:
    lines: list[str] = []
    badness = 0.0
    for i, line in enumerate(own):
        part = broken(line, measure, limit, max(1, most - len(lines) - (len(own) - i - 1)))
        if part is None:
            return None
        lines += part.lines
        badness += _OWN_LINE_DIVIDED * (len(part.lines) > 1)
        badness += max(0.0, part.badness)
    return Broken(tuple(lines), badness) if len(lines) <= most else None


def _running(text: str, measure: Measure, limit: float, most: int) -> Broken | None:
    """Running text: the least sum of squared slack and penalties, line by line (the method of Knuth and Plass)."""
    words = text.split(" ")
    widths = [measure(word) for word in words]
    space = measure("n n") - 2 * measure("n")
    cost, begin = [0.0] + [inf] * len(words), [[0]] + [[] for _ in words]
    for end in range(1, len(words) + 1):
        used = -space
        for start in range(end - 1, -1, -1):
            used += space + widths[start]
            if used > limit * 1.0001:
                break
            slack = 0.0 if end == len(words) else ((limit - used) / limit) ** 2
            turn = penalty(words[end - 1], words[end]) if end < len(words) else 0.0
            total = cost[start] + 3 * slack + max(0.0, turn) * 0.3 + 0.35
            if total < cost[end]:
                cost[end], begin[end] = total, [*begin[start], end]
    if cost[-1] == inf or len(begin[-1]) - 1 > most:
        return None
    edges = begin[-1]
    return Broken(tuple(" ".join(words[a:b]) for a, b in pairwise(edges)), 0.0)


def badness_of(text: str, lines: Sequence[str]) -> float:
    """The penalties of a text that is set as ``lines``; the author's own breaks cost nothing, a divided word much."""
    own = {line.strip() for line in text.split("\n")}
    cost = _shape(lines) if not set(lines) <= own else 0.0
    ends = {line.split(" ")[-1] for line in own}
    for before, after in pairwise(lines):
        if before.split(" ")[-1] not in ends:
            cost += penalty(before.split(" ")[-1], after.split(" ")[0])
    return cost + (3.0 if " ".join(lines) != " ".join(text.split()) else 0.0)
