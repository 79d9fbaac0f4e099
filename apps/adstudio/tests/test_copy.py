"""Copy read by roles and broken into lines: what a client types becomes an ad, or is refused in one sentence."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adstudio.vision.ad_copy import LONGEST, copy_of_fields
from adstudio.vision.bonds import PARTED, TIED, UNKNOWN, bond
from adstudio.vision.copy_reading import read_copy
from adstudio.vision.copy_roles import MOST_CHARACTERS, parted_copy
from adstudio.vision.errors import CopyError
from adstudio.vision.formats import FORMATS, chosen
from adstudio.vision.line_breaks import ACCEPTABLE, badness_of, broken
from adstudio.vision.parting import doubts
from adstudio.vision.room import check_room
from adstudio.vision.type_block import LEGAL_LEAST, Scale, set_block
from adstudio.vision.typefaces import PRETENDARD

ROLES = [
    ("50% 할인 ₩12,900", {"headline": "50% 할인", "offer": "₩12,900"}),
    ("Beijing in 48 hours\nFlights from ₩189,000", {"headline": "Beijing in 48 hours", "offer": "Flights from ₩189,000"}),
    ("SALE 최대 70% 이번 주말까지", {"headline": "SALE", "offer": "최대 70%", "note": "이번 주말까지"}),
    ("하루의 끝, 와인 한 잔\n지금 예약하세요", {"headline": "하루의 끝, 와인 한 잔", "cta": "지금 예약하세요"}),
    ("우리들의 여름 룩, 지금 20% OFF", {"headline": "우리들의 여름 룩", "offer": "지금 20% OFF"}),
    ("알로에 수딩젤 1+1", {"headline": "알로에 수딩젤", "offer": "1+1"}),
    ("숨 쉬는 숲, 피톤치드 디퓨저 29,000원", {"headline": "숨 쉬는 숲", "sub": "피톤치드 디퓨저", "offer": "29,000원"}),
    ("차곡차곡 모으는 도토리 적금, 연 4.5%", {"headline": "차곡차곡 모으는 도토리 적금", "offer": "연 4.5%"}),
    ("HANEUL Outdoor 가을 신상 트레킹화 출시", {"headline": "가을 신상 트레킹화 출시", "brand": "HANEUL Outdoor"}),
    ("Ride your own road. 시승 신청 1588-0000", {"headline": "Ride your own road.", "cta": "시승 신청 1588-0000"}),
    ("인생샷은 여기서 🌅 제주 2박 3일 199,000원~", {"headline": "인생샷은 여기서 🌅", "sub": "제주 2박 3일", "offer": "199,000원~"}),
    ("HALLOWEEN NIGHT 10.31 홍대", {"headline": "HALLOWEEN NIGHT", "sub": "10.31 홍대"}),
    ("하루를 바꾸는\n작은 습관", {"headline": "하루를 바꾸는\n작은 습관"}),
    ("쉼표, 하나.", {"headline": "쉼표, 하나."}),
    ("자세히 보기 ▶ www.aquaplus.co.kr #수분크림", {"headline": "#수분크림", "sub": "www.aquaplus.co.kr", "cta": "자세히 보기"}),
    ("Every dog deserves a window seat", {"headline": "Every dog deserves a window seat"}),
    ("100% 유기농 녹차", {"headline": "100% 유기농 녹차"}),
    ("Get 20% off your first order", {"headline": "Get 20% off your first order"}),
    ("카페 라떼 4,500원에 만나보세요", {"headline": "카페 라떼 4,500원에 만나보세요"}),
    ("원목 식탁 ₩1,290,000 → ₩899,000", {"headline": "원목 식탁", "offer": "₩1,290,000 → ₩899,000"}),
    ("Spring Sale — up to 60% off everything\nShop now", {"headline": "Spring Sale", "offer": "up to 60% off everything", "cta": "Shop now"}),
    ("우리 동네 꽃시장 🌼 첫 주문 30% 할인\n지금 주문하기", {"headline": "우리 동네 꽃시장 🌼", "offer": "첫 주문 30% 할인", "cta": "지금 주문하기"}),
    ("러너 3세대 출시\n오전 10시 선착순 500명\n알림 신청", {"headline": "러너 3세대 출시", "sub": "오전 10시 선착순 500명", "cta": "알림 신청"}),
    ("Your day, one tap ahead.\nDownload free", {"headline": "Your day, one tap ahead.", "cta": "Download free"}),
    ("집에 두고 온 우리 아이, 펫캠으로 24시간 확인하세요", {"headline": "집에 두고 온 우리 아이", "sub": "펫캠으로 24시간 확인하세요"}),
    ("바다가 보이는 방\n11.28(토) ~ 12.6(일) 얼리버드 45%", {"headline": "바다가 보이는 방", "sub": "11.28(토) ~ 12.6(일)", "offer": "얼리버드 45%"}),
    ("제철 딸기 500g 8,900원 🍓 오늘 도착", {"headline": "제철 딸기 500g 🍓", "note": "오늘 도착", "offer": "8,900원"}),
    ("아이폰 당일 수리 🔧 액정 교체 99,000원\n가까운 매장 찾기", {"headline": "아이폰 당일 수리 🔧", "sub": "액정 교체", "offer": "99,000원", "cta": "가까운 매장 찾기"}),
    ("첫 구매 고객 5,000원 쿠폰 + 무료배송", {"headline": "첫 구매 고객", "offer": "5,000원 쿠폰 + 무료배송"}),
    ("New season, new you. Gym membership from $19/month", {"headline": "New season, new you.", "sub": "Gym membership", "offer": "from $19/month"}),
    ("Save $300 on a new mattress\nEnds Sunday", {"headline": "Save $300 on a new mattress", "sub": "Ends Sunday"}),
    ("Try it free for 30 days\nNo card needed", {"headline": "Try it free for 30 days", "sub": "No card needed"}),
    ("수능 끝! 수험생 50% 할인\n수험표를 보여 주세요", {"headline": "수능 끝!", "offer": "수험생 50% 할인", "note": "수험표를 보여 주세요"}),
    ("크리스마스 케이크 예약\n~12.20까지 10% 할인", {"headline": "크리스마스 케이크 예약", "sub": "~12.20까지", "offer": "10% 할인"}),
    ("회사 송년회 케이터링 1인 29,000원부터\n11월 계약 시 10% 할인", {"headline": "회사 송년회 케이터링", "offer": "1인 29,000원부터", "note": "11월 계약 시 10% 할인"}),
    ("NEW IN\n니트 전 품목 1+1 🧶 이번 주만", {"headline": "NEW IN", "note": "이번 주만", "offer": "니트 전 품목 1+1 🧶"}),
    ("Small wings. Long journeys.\nDonate today", {"headline": "Small wings. Long journeys.", "cta": "Donate today"}),
    ("심야 데이터 무제한\n월 9,900원 추가", {"headline": "심야 데이터 무제한", "offer": "월 9,900원 추가"}),
    ("Carry less. See more. The 24L daypack", {"headline": "Carry less. See more.", "sub": "The 24L daypack"}),
    ("Slow mornings, freshly brewed. Coffee club from $12 a month", {"headline": "Slow mornings, freshly brewed.", "sub": "Coffee club", "offer": "from $12 a month"}),
    ("Stay downtown. Pay uptown prices? Never. Rooms from $89 a night", {"headline": "Stay downtown.", "sub": "Pay uptown prices? Never.", "offer": "Rooms from $89 a night"}),
    ("Sun's out. Hats on. 2 for $30", {"headline": "Sun's out.", "sub": "Hats on.", "offer": "2 for $30"}),
    ("Budapest in winter — thermal baths, markets, mulled wine\nFrom £249 per person", {"headline": "Budapest in winter", "sub": "thermal baths, markets, mulled wine", "offer": "From £249 per person"}),
    ("컬러 트리트먼트\n2개 19,800원 무료배송", {"headline": "컬러 트리트먼트", "offer": "2개 19,800원 무료배송"}),
    ("호숫가 글램핑 2인 1박 99,000원 (조식 포함)\n예약하기", {"headline": "호숫가 글램핑", "offer": "2인 1박 99,000원", "note": "(조식 포함)", "cta": "예약하기"}),
    ("데스크 세트 렌탈\n월 29,900원, 설치비 0원", {"headline": "데스크 세트 렌탈", "offer": "월 29,900원 · 설치비 0원"}),
    ("Venice, slowly. Five nights, from €720\nPlan your trip", {"headline": "Venice, slowly.", "sub": "Five nights", "offer": "from €720", "cta": "Plan your trip"}),
    ("한강이 보이는 집\n전세 3억 2,000만 원부터", {"headline": "한강이 보이는 집", "offer": "전세 3억 2,000만 원부터"}),
    ("주말 아침은 천천히\n드립백 10개입 14,900원, 첫 구매 15% 추가 할인", {"headline": "주말 아침은 천천히", "sub": "드립백 10개입", "offer": "14,900원 · 첫 구매 15% 추가 할인"}),
    ("It is easier to ask forgiveness than it is to get permission.", {"headline": "It is easier to ask forgiveness than it is to get permission."}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "roles"), ROLES)
def test_a_string_is_read_by_roles(text: str, roles: dict[str, str]) -> None:
    assert parted_copy(text).fields() == roles


def test_a_sentence_is_no_headline() -> None:
    copy = read_copy("도심에서 한 시간, 아이와 함께 걷기 좋은 계곡길을 소개합니다. 이번 주말 숲으로 떠나 보세요.")
    assert copy.headline == "도심에서 한 시간"
    assert copy.sub == "아이와 함께 걷기 좋은 계곡길을 소개합니다.\n이번 주말 숲으로 떠나 보세요."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "The copy is empty."),
        (" \t\n\u200b\u3000 ", "The copy is empty."),
        ("🌸🌸🌸", "The headline says nothing"),
        ("…!?", "The copy is empty"),
        ("ابدأ يومك", "Arabic letters, which run right to left"),
        ("Say שלום", "Hebrew letters, which run right to left"),
        ("ขอบคุณ", "cannot draw Thai letters"),
        ("Reach for more, " * 125, "too long"),
        ("가" * 2000, "too long"),
    ],
)
def test_a_copy_that_cannot_be_set_is_refused_in_a_sentence(text: str, says: str) -> None:
    with pytest.raises(CopyError) as caught:
        read_copy(text)
    assert says in caught.value.told("en")
    for told in (caught.value.ko, caught.value.en):
        assert told.endswith(".")
        assert "\n" not in told
    assert re.search("[가-힣]", caught.value.ko)


def test_a_field_that_is_too_long_is_named() -> None:
    with pytest.raises(CopyError, match="call to action is too long: it has 59 characters"):
        copy_of_fields("Hello", cta="buy " * 15)


WORDS_KO = ["봄", "여름", "우리", "집", "수분", "크림", "특가", "하루", "종일", "신상", "출시", "최대", "이번", "주말까지", "한", "잔", "두", "개", "걷기", "좋은", "바꾸는", "작은", "습관", "지금", "당신의", "계절", "깨우지", "마세요", "얼리버드", "무료배송"]  # fmt: skip
WORDS_EN = ["Wake", "up", "slow", "without", "process", "bloom", "Small", "is", "bold", "your", "own", "road", "every", "dog", "a", "the", "NEW", "SALE", "get", "save"]  # fmt: skip
ODD = ["🌅", "🐶💛", "👨‍👩‍👧", "🇰🇷", "—", "·", "!", "+", "&", "(한정)", "www.ondo.co.kr", "#수분크림", "‘모두의자리’", "1588-0000", "지금 예약하세요", "매장 찾기", "AQUA+", "\n", "1+1", "연 4.5%", "20% OFF", "반값", "10.31", "~12.20까지", "7월 20일", "2박 3일"]  # fmt: skip
PRICES = ("₩{0:,}00", "{0:,}00원", "{1}%", "최대 {1}% 할인", "${1}.99", "${1}/month", "Save ${1}", "{0:,}00원 특가")


def typed(number: int) -> Iterator[str]:
    """Copies as they are typed, from words, prices and oddities; the same ones in every process."""
    choose = random.Random(15)
    for _ in range(number):
        words = []
        for _ in range(choose.randint(1, 16)):
            kind = choose.choice((WORDS_KO, WORDS_EN, ODD, PRICES))
            words.append(choose.choice(kind).format(choose.randint(10, 99999), choose.randint(1, 99)))
        yield " ".join(words)


def letters(text: str) -> Counter[str]:
    return Counter(char for char in text if char.isalnum())


def test_nothing_that_was_typed_is_lost() -> None:
    read = 0
    for text in typed(2500):
        try:
            copy = read_copy(text)
        except CopyError:
            continue
        read += 1
        assert letters(copy.whole) == letters(text), text
    assert read > 1500


def check_set_or_refused(text: str) -> bool:
    """Whether it is set, in every format or where there is room; else it was refused in a sentence."""
    formats = chosen(None)
    refusal: CopyError | None = None
    try:
        copy = read_copy(text)
        check_room(copy, formats)
    except CopyError as error:
        refusal = error
    if refusal is not None:
        assert refusal.ko.endswith(".")
        assert refusal.en.endswith(".")
        return False
    for format_ in formats:
        safe, scale = format_.safe_box, Scale.of(format_)
        block = set_block(copy, PRETENDARD, scale, safe.width, safe.height)
        if block is None:
            continue
        assert block.width <= safe.width + 1
        assert block.height <= safe.height
        assert letters("".join(row.text for row in block.rows)) == letters(copy.whole)
        assert min(row.size for row in block.rows) >= int(scale.least * LEGAL_LEAST) or copy.offer or copy.cta
    return True


def test_every_copy_is_set_or_refused_in_a_sentence() -> None:
    assert sum(map(check_set_or_refused, typed(750))) > 400


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_set_or_refused_in_a_sentence(text: str) -> None:
    check_set_or_refused(text)


def test_every_price_up_to_a_hundred_thousand_is_set() -> None:
    scale, room = Scale.of(FORMATS["square"]), FORMATS["square"].safe_box
    for hundreds in range(10, 1000):
        copy = read_copy(f"50% 할인 ₩{hundreds * 100:,}")
        assert set_block(copy, PRETENDARD, scale, room.width, room.height) is not None


TOGETHER = """최대|70% 도보|3분 40%|할인 2박|3일 한|잔 할|일은 이번|주말 창밖|— 놀러|🐶 3|시간 갈|시간 the|road 당신의|계절 복이|와요 두고|온
친구와|함께라면 하루|종일 깨우지|마세요 걷지|말고 무서운|곳이 +|Americano (백엔드|프론트엔드) 2만|5천원 만|2천원 1박|89,000원 토요일|오후 저녁|7시
4월|19일 4월|첫째 매주|화요일 7세|이상 100개|이상 4주|과정 수강생|모집 당일|완료 예약|오픈 마감|임박 복구|가능 여행|갈
무료|배송은 무료|입장 book|by 보러|가요 놀러|오세요 찾아|주세요 걷기|좋은 갓|구운 독서|모임 쉽게|배우는 아이와|함께 회원|모집
예약|받아요 이|렌즈 렌즈|하나면 July|8 Friday|night Saturdays|at ages|6 6|to $29|a 20%|off your|door while|you two|nights free|quotes"""


APART = """열어요|포장 받아요|3일 모집|원목 무료|저녁 포함|2만 사면|하나 김밥집|아침 오픈|4월 상추|당일 수리|당일 6,900원|무료배송
끝,|와인 수건에|새겨드려요 원두|12,000원 bread|every lessons|from 6pm|kids neighborhood|$20 bikes|while pie|$18 done|in"""


@pytest.mark.parametrize("pair", TOGETHER.split())
def test_words_of_one_phrase_are_tied(pair: str) -> None:
    before, after = pair.split("|")
    assert bond(before, after) >= TIED


@pytest.mark.parametrize("pair", APART.split())
def test_words_that_a_sign_parts_may_be_parted(pair: str) -> None:
    before, after = pair.split("|")
    assert bond(before, after) <= 0


def test_two_nouns_side_by_side_are_no_place_to_part() -> None:
    for pair in ("회사|로고", "딸기|라떼", "가죽|지갑", "apple|pie"):
        assert PARTED < UNKNOWN <= bond(*pair.split("|")) < TIED


@pytest.mark.parametrize("width", [4.0, 5.0, 6.0, 7.0, 9.0, 12.0])
def test_no_line_of_a_headline_parts_a_phrase_where_another_fits(width: float) -> None:
    def measure(part: str) -> float:
        return PRETENDARD.width(part, "ExtraBold")

    for text in typed(300):
        words = text.replace("\n", " ").split()[:8]
        found = broken(" ".join(words), measure, width, 3)
        if found is None or all(bond(a.split(" ")[-1], b.split(" ")[0]) < TIED for a, b in pairwise(found.lines)):
            continue
        loose = [i for i in range(1, len(words)) if bond(words[i - 1], words[i]) < TIED]
        for cuts in (cuts for count in range(3) for cuts in combinations(loose, count)):
            lines = [" ".join(words[a:b]) for a, b in pairwise((0, *cuts, len(words)))]
            assert max(map(measure, lines)) > width or len(lines) == len(words), (found.lines, lines)


@pytest.mark.parametrize(
    ("text", "limit", "lines"),
    [
        ("하루의 끝, 와인 한 잔", 5.0, ("하루의 끝,", "와인 한 잔")),
        ("하늘은 넓고 할 일은 없다", 6.0, ("하늘은 넓고", "할 일은 없다")),
        ("작은 씨앗이 만드는 큰 변화", 7.0, ("작은 씨앗이", "만드는 큰 변화")),
        ("Wake up slow.", 8.0, ("Wake up slow.",)),
        ("Butter croissant + Americano", 9.5, ("Butter croissant", "+ Americano")),
        ("낮잠을 깨우지 마세요", 5.6, ("낮잠을", "깨우지 마세요")),
        ("하루를 바꾸는\n작은 습관", 7.0, ("하루를 바꾸는", "작은 습관")),
    ],
)
def test_lines_break_where_one_breathes(text: str, limit: float, lines: tuple[str, ...]) -> None:
    found = broken(text, lambda part: PRETENDARD.width(part, "ExtraBold"), limit, 3)
    assert found is not None
    assert found.lines == lines


@pytest.mark.parametrize(
    "lines",
    [("SALE 최대", "70% 이번", "주말까지"), ("강남역 도보", "3분"), ("산책", "갈", "시간!"), ("오늘만", "— 특가")],
)
def test_bad_breaks_cost_more_than_is_acceptable(lines: tuple[str, ...]) -> None:
    assert badness_of(" ".join(lines), lines) > ACCEPTABLE


def test_a_copy_of_the_most_characters_is_taken_or_told_to_be_shorter() -> None:
    text = ("가을 하늘 " * 60)[:MOST_CHARACTERS]
    with pytest.raises(CopyError):
        check_room(read_copy(text), chosen(None))
    assert set(LONGEST) == {"headline", "sub", "offer", "note", "cta", "brand", "legal"}


READ_RIGHT = [
    "가을 코트 30% 할인",
    "무화과 특가 12,900원",
    "SALE 최대 70% 이번 주말까지",
    "아침을 깨우는 한 잔, 아메리카노 2,000원",
    "혼자여도 괜찮아, 강릉",
    "Flights from ₩189,000",
    "Adopt an acre of forest for $25 a year",
]


@pytest.mark.parametrize("text", READ_RIGHT)
def test_a_copy_that_is_parted_where_its_author_parts_it_is_sure(text: str) -> None:
    assert read_copy(text).fields() == parted_copy(text).fields()


@pytest.mark.parametrize(
    ("text", "roles", "sign"),
    [
        ("봄을 담은 꽃다발", {"headline": "봄을 담은", "sub": "꽃다발"}, "cut"),
        ("우리 동네 빵집, 매일 굽습니다", {"headline": "매일 굽습니다", "sub": "우리 동네 빵집"}, "order"),
        ("촬영, 커플 15만원", {"headline": "촬영", "sub": "커플", "offer": "15만원"}, "cut"),
        (
            "작업실 3시간 5천원! 음료 무제한",
            {"headline": "작업실 !", "offer": "3시간 5천원", "sub": "음료 무제한"},
            "joined",
        ),
        ("귀찮으시죠 30평 4만원", {"headline": "귀찮으시죠 30평 4만원"}, "fragment"),
        ("꽃 한 다발. 새벽 배송", {"headline": "꽃 한 다발.", "offer": "새벽 배송"}, "offer"),
        ("니트 2만원. 셔츠 3만원", {"headline": "여름", "sub": "니트 2만원.", "offer": "셔츠 3만원"}, "prices"),
        ("Tables for a small kitchen", {"headline": "Tables for a", "sub": "small kitchen"}, "cut"),
        ("A red door. Blue walls", {"headline": "A red door."}, "missing"),
    ],
)
def test_a_misread_copy_is_doubted(text: str, roles: dict[str, str], sign: str) -> None:
    found = doubts(text, copy_of_fields(**roles))
    assert sign in {doubt.sign for doubt in found}
    assert all(doubt.ko.endswith(".") and doubt.en.endswith(".") for doubt in found)


def test_a_doubtful_copy_is_set_as_headline_and_running_text() -> None:
    copy = read_copy("잔디 깎기 귀찮으시죠 30평 기준 4만원, 예초까지 해드려요 (당일 출동)")
    assert copy.fields() == {
        "headline": "잔디 깎기 귀찮으시죠",
        "sub": "30평 기준 4만원, 예초까지 해드려요\n(당일 출동)",
    }
