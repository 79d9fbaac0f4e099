"""The words by which an offer, a call to action, a legal line or a brand is known, in Korean and in English."""

from __future__ import annotations

import re
from typing import Final

_AMOUNT = r"\d[\d,]*(?:\.\d+)?"
_MONEY = (
    rf"(?:[₩$€£¥]\s?{_AMOUNT}(?:\s?(?:million|만))?|(?:(?:{_AMOUNT}\s?(?:억|만)|(?<!\S)만)\s?)?(?:{_AMOUNT}|[일이삼사오육칠팔구])\s?(?:만\s?|천\s?|억\s?)?원"
    rf"|USD\s?{_AMOUNT}|{_AMOUNT}\s?(?:USD|KRW))"
    r"(?:\s?/\s?(?:month|mo|year|yr|week|day|night|person|kg|[월일박인년개])"
    r"|\s(?:a|per)\s(?:month|year|week|day|night|person|head|piece)\b)?"
)
_PERCENT = rf"{_AMOUNT}\s?%"
_BEFORE_KO = (
    r"(?:지금|오늘|단|오직|최대|최저|최고|무려|전\s?품목|전\s?상품|전\s?메뉴|매일|특가|연|월|회원가"
    r"|정가|할인가|판매가|첫\s?[가-힣]{1,3}(?=\s)|추가|약|무이자|평일|주말|하루|평당|인당|(?!무료)[가-힣]{1,3}(?:비|료)(?=\s)|\d{1,2}\s?(?:박|인|개월|시간)|1\s?(?:일|회|주))"
)
_BEFORE_EN = r"(?:up to|from|only|just|now|save|starting at|as low as|extra|for)"
_AFTER = (
    r"(?:(?:\s?(?:추가\s?)?(?:할인|세일|적립|캐시백|쿠폰|페이백|증정|인하|특가|행사|이벤트|찬스|딜|균일가|상당|할인권|OFF|off|Off|SALE|sale|discount|cashback|back)"
    r"(?![가-힣A-Za-z])){1,2})"
)
OFFER: Final = re.compile(
    rf"(?<![\w.])(?:{_BEFORE_KO}\s+|{_BEFORE_KO}(?=\d)|\b(?i:{_BEFORE_EN})\s+)*"
    rf"(?:{_PERCENT}{_AFTER}?|{_MONEY}{_AFTER}?(?:\s?(?:부터|까지|대)|\s?~)?|\b[1-9]\+[1-9]\b(?:\s?행사|\s?증정)?|반값(?:\s?할인)?)"
    r"(?![가-힣A-Za-z\d%])"
)
"""A price, a percentage, a 1+1, with the words that belong to it; not one that a sentence goes on from (``원에``)."""

_WITH = re.compile(r"\s?\+\s?(?:\S+\s)?\S+$")  # ₩26,000 + free shipping, to the end of the line
_LAST_WORD = re.compile(r"\s(?![가-힣]*[요다죠까]$)[가-힣]{1,4}$")  # 월 9,900원 추가, 12,900원 무료배송
_BARE: Final = re.compile(rf"(?:{_PERCENT}|[1-9]\+[1-9])")
_OF_ALL: Final = re.compile(r"전\s?(?:품목|상품|메뉴)\s")
_LEAD_KO = re.compile(r"(?:^|(?<=\s))[가-힣A-Za-z]+(?:\s[가-힣A-Za-z]+)?\s$")
_MOST_LED: Final = 12
"""Characters of a bare percentage with the words before it (``얼리버드 45%``); a longer lead is a line of its own."""

_TAIL_EN = re.compile(r"\s+(?:(?:on|your|our|the|first|next|all|every|entire)\s+)*[a-z]+(?:\s[a-z]+)?\s*[.!]?")
_LEAD_EN = re.compile(r"(?:^|(?<=[.!?,]\s))(?:[A-Za-z][\w'-]*|\d+)(?:\s[\w'-]+){0,2}\s+$")
_LONE = re.compile(r"\s*[가-힣]{1,4}\s+")  # a short word alone above a price says nothing: 커플, 전세
_QUANTITY = re.compile(r"(?:^|(?<=[,.!?]\s))(?:\d+[가-힣]{1,2}\s)+$")  # 2개 19,800원
_MOST_CLAUSE: Final = 22
"""Characters of an English clause that is an offer as a whole (``Rooms from $89 a night``)."""

_MOST_OFFERED: Final = 28
"""Characters of an offer with the words around it; a longer one is not seen at a glance."""

_UNTIED = {"get", "enjoy", "take", "over", "under", "above", "than", "of", "to", "spend"}

_PHONE = r"(?:\d{2,4}-\d{3,4}-\d{4}|1[5-9]\d{2}-\d{4})"
_DEED = (
    r"(?:예약|예매|구매|주문|신청|문의|상담|다운로드|가입|시작|확인|체험|방문|참여|응모|등록|구독|쇼핑"
    r"|설치|입장|접수|조회|비교)"
)
_POLITE = r"(?:하세요|하기|하러\s?가기|해\s?보세요|받기|하십시오)"
_CALL_KO = (
    rf"(?:(?:지금|바로|오늘|무료로?|무료)\s+){{0,2}}{_DEED}\s?{_POLITE}[.!]?"
    rf"|(?:[가-힣]{{1,4}}\s)?{_DEED}\s?(?:☎|T\.|전화)?\s?{_PHONE}"
    r"|(?:더\s?)?(?:자세히|알아)\s?보기|더\s?보기|더\s?알아보기|보러\s?가기|바로\s?가기"
)
_CALL_EN = (
    r"(?i:(?:shop|buy|book|order|call|start|join|apply|subscribe|reserve|visit|donate|give|register|enroll|try|rent)"
    r"\s(?:now|today|us|online)\b"
    r"|learn more|see more|find out more|sign up(?: now)?|get started|try it free|download now|get yours)"
    r"[.!]?(?!\s[a-z])"
)
_ADDRESS = r"(?:https?://\S+|www\.\S+|\b[\w-]+\.(?:co\.kr|com|net|kr|shop|store|io)(?:/\S*)?)(?![가-힣])"
CALL: Final = re.compile(rf"(?:^|(?<=[\s.,!?]))(?:{_CALL_KO}|{_CALL_EN}|{_PHONE})\s*[▶→>]*\s*(?=$|[\s#.,!])")
"""A call to act, with a telephone number where there is one."""

ADDRESS: Final = re.compile(rf"(?:^|(?<=[\s▶→>:]))[▶→]?\s?{_ADDRESS}")
"""A web address. It is set small: a reader cannot press it in a picture."""

LEGAL: Final = re.compile(r"\s*(?:[*※]|(?:유의|주의)\s?사항|심의필|준법감시인|terms|conditions apply)", re.IGNORECASE)
DIVIDER: Final = re.compile(r"\s+[—–|/·-]{1,2}\s+|\s*[|]\s*|\s+—|—\s+")
DATED: Final = re.compile(
    r"(?<!\S)(?:\d{1,2}[./]\d{1,2}(?:\s?[~-]\s?\d{1,2}(?:[./]\d{1,2})?)?|\d{1,2}월\s?\d{1,2}일)(?:\([월화수목금토일]\))?(?=\s|$)"
)
TAG: Final = re.compile(r"(?:#\w+\s?)+")


_ENDING = re.compile(r"하세요|해\s?보세요|하십시오")
_PROMPT = re.compile(r"(?:지금|바로|오늘|무료)")
_CALL_LINE: Final = re.compile(
    rf"(?:[가-힣]{{1,4}}\s)?{_DEED}"
    r"|(?:[가-힣\d]{1,5}\s){0,2}[가-힣]{0,4}(?:하|찾|보|받|가|타|사|담|열|듣|배우|떠나|만나|즐기|고르|맡기|드리|누리|남기)기"
    r"|(?i:shop|buy|book|order|download|try|get|start|join|subscribe|reserve|visit|discover|explore|see|donate|apply"
    r"|register|enroll|claim|find|rent|learn|plan|compare|choose|meet|taste|watch|listen|read|ask|send)"
    r"\b[\w' ]{2,18}[.!]?"
)
"""Words that are a call to act only in the last line of several: ``알림 신청``, ``Download free``."""


def is_call_line(line: str) -> bool:
    """Whether a copy's last line asks the reader to do something."""
    return _CALL_LINE.fullmatch(line) is not None


def call_in(text: str) -> re.Match[str] | None:
    """The call to action in ``text``; the verb with which a sentence ends is none (``24시간 확인하세요``)."""
    match = CALL.search(text)
    if match is None:
        return None
    before = text[: match.start()].rstrip()
    said = match.group().strip()
    if said.isascii() and re.search(r"[A-Za-z]{2}", ADDRESS.sub("", text[match.end() :])):
        return None  # ``Carry less. See more. The 24L daypack``
    ends_sentence = _ENDING.search(said) and not _PROMPT.match(said) and before and before[-1] not in ".!?,…|—–-·:"
    return None if ends_sentence and not offers(before[-12:]) else match


def whole_offer(text: str, match: re.Match[str]) -> tuple[int, int]:
    """Where an offer begins and ends with the English words that mean nothing without it: ``Flights from $99``,
    ``60% off everything``."""
    start, end = match.span()
    if (lead := _LEAD_EN.search(text[:start])) and match.group()[:1].islower():
        start = lead.start() if end - lead.start() <= _MOST_CLAUSE else start
    tail = _TAIL_EN.match(text, end)
    if tail and tail.end() == len(text) and match.group().rstrip().lower().endswith("off"):
        end = tail.end()
    if (more := _WITH.match(text, end)) or (more := _LAST_WORD.match(text, end)):
        end = more.end()
    return (start, end) if end - start <= _MOST_OFFERED else match.span()


def lead_of(text: str, start: int, end: int) -> int:
    """Where a bare percentage or 1+1, or one of ``전 품목``, begins with the words that belong to it, in a line below
    the headline."""
    if quantity := _QUANTITY.search(text[:start]):
        return quantity.start()
    if _LONE.fullmatch(text[:start]):
        return 0
    if not (_BARE.fullmatch(text[start:end]) or _OF_ALL.match(text, start)):
        return start
    lead = _LEAD_KO.search(text[:start])
    return lead.start() if lead and end - lead.start() <= _MOST_LED else start


def offers(text: str) -> list[re.Match[str]]:
    """The offers in ``text``, less those that are a sentence's own words: ``100% cotton``, ``orders over $50``."""
    return [match for match in OFFER.finditer(text) if _stands_alone(match)]


def _stands_alone(match: re.Match[str]) -> bool:
    before, after = match.string[: match.start()].split(), match.string[match.end() :].strip()
    if any(word.lower() in _UNTIED for word in before[-1:]) or "get" in [word.lower() for word in before[-2:]]:
        return False
    if re.search(r"[가-힣]에$", match.string[: match.start()].rstrip()):
        return False  # ``두 개에 5천원``
    if re.match(r"[a-z]+\s", f"{after} ") and not re.search(r"(?i:off|sale|discount|back)$", match.group().strip()):
        return False  # ``Save $300 on a new mattress``
    bare = re.fullmatch(_PERCENT, match.group().strip())
    return not (bare and (after[:1].isalpha() or match.group().startswith("100")))


EDGES: Final = " ,~·|/—–-:▶→"
"""Punctuation that only joined two parts, and stays at their edges when they come apart."""

_LATIN = re.compile(r"[A-Z][\w&'.+-]*")
_SHOUTS = "SALE NEW HOT BEST EVENT OPEN GRAND SPECIAL BIG MEGA SUMMER WINTER SPRING AUTUMN BLACK FRIDAY"


def leading_brand(parts: list[str]) -> tuple[str | None, list[str]]:
    """A name of two or more Latin words, one of them all capitals, before a Korean headline."""
    if not parts:
        return None, parts
    words = parts[0].split(" ")
    count = next((i for i, word in enumerate(words) if not _LATIN.fullmatch(word)), len(words))
    name, rest = words[:count], words[count:]
    shouted = any(word.isupper() and len(word) >= 3 for word in name)
    if (
        len(name) < 2
        or len(rest) < 2
        or not shouted
        or rest[0][0].isdigit()
        or set(_SHOUTS.split()) & {word.upper() for word in name}
    ):
        return None, parts
    return " ".join(name), [" ".join(rest), *parts[1:]]
