"""How closely two neighbouring words of a copy belong together, in Korean and in English.

A line may end, and a role may end, where a sign says so: punctuation, a sentence's or a clause's ending, a particle, a
time or a price that begins. The absence of a bad sign is no good one: two nouns side by side may be one name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from adstudio.vision.emoji import is_emoji

PARTED: Final = -0.2
"""A bond this loose or looser: a phrase ends here, or another begins; roles may part."""

UNKNOWN: Final = 1.1
"""No sign speaks for or against it."""

TIED: Final = 1.2
"""A bond this close or closer: the words are one phrase."""

_Rule = tuple[float, re.Pattern[str], re.Pattern[str]]


def _rule(bond: float, before: str = ".+", after: str = ".+") -> _Rule:
    return bond, re.compile(before, re.IGNORECASE), re.compile(after, re.IGNORECASE)


def _one_of(*lines: str) -> str:
    return "(?:" + "|".join(" ".join(lines).split()) + ")"


_UNIT = _one_of(
    "개월 개입 개 잔 병 권 장 명 분 벌 켤레 봉지 봉 송이 마리 대 통 줄 편 그릇 판 캔 팩 평 층 년 주년 주",
    "박 일 회 번 차 세대 세 살 인분 인 시간 가지 종 곳 쪽 단 상자 박스 세트 kg g ml l cm km m 도 배 위 호",
    "학년 과목 초 강 기",
)
_COUNT = rf"(?:약|총|첫)?\d[\d,.~-]*{_UNIT}"
_PRICED = r"(?:.*\d(?:인|박|개|벌|장|일|회|평|병|권|시간|개월|팩|봉|마리|월)|하루|평일|주말|한|두|[1일]인당)"
_AMOUNT = (
    r"(?:[₩$€£¥]\d\S*|(?:\d[\d,.]*|[일이삼사오육칠팔구]?[억만천백])[억만천백\d일이삼사오육칠팔구]*원\S{0,4}"
    r"|\d[\d,.]*[억만천]|만)"
)
_MONEY = rf"(?:{_AMOUNT}|반값\S*|\d[\d.]*%\S*|\d\+\d)"
_DATE = r"(?:\d{1,2}월\S*|\d{1,2}[./]\d\S*|~\d\S*|[월화수목금토일]요일\S*|매주|매달|매월|매년|이번|다음)"
_CLOCK = r"(?:\d{1,2}시(?!간)\S*|\d{1,2}:\d\d\S*)"
_DAY = _one_of("새벽 아침 점심 낮 오전 오후 저녁 밤 심야 평일 주말 매일 하루 당일 오늘 내일 올해 내년 지금")
_SEASON = r"(?:(?:늦|초|한)?(?:봄|여름|가을|겨울)|연말|추석|설날|명절|크리스마스|어버이날|수능)"
_CLOSES = _one_of(
    "모집 환영 오픈 포함 완료 가능 완성 필수 임박 개강 개점 출시 입고 증정 한정 마감 동반 무한 개최 완비",
    "별도 제외 추가 할인 세일 특가 판매 제공 보장 확인 발급 운영 진료 예약제 시작 불가 무제한 기획전",
    "할인전 추천 보상",
)
"""They end a phrase of an ad: ``수강생 모집``, ``초보 환영``."""

_EVENT = _one_of(
    "모임 대회 교실 수업 과정 캠프 공연 배송 행사 분양 관리 교육 회원 전시 입장 관람 구독",
    "상영 쿠폰 이용권 음료 청소 조율 수리",
)
"""Words that name the thing on offer, as one name with the word before them: ``독서 모임``."""

_OFFERED = _one_of(
    "만들기 배우기 체험 강습 클래스 촬영 상담 제작 예약 주문 신청 등록 이벤트 출장 여행 투어 선물 렌탈 배달 접수",
)
"""Words that do the same, and take a line of their own."""

_PARTICLE = "(?:이요|까지|부터|으로|로|에서|에|도|을|를|은|는|이|가)?"
_ENDS = (
    r"(?:[가-힣]*(?:니다|세요|시죠|지요|네요|까요|[어아여해려예이돼워와춰겨켜쳐져]요|[이했았었였겠셨렸웠]죠|습니까|하십시오"
    r"|[한된간온났했았었였겠]다|[않없있좋같많]다|[세거]라)|(?:가|보|하|먹|놀|쉬|걷|떠나|만나|즐기|[가-힣]{2}하)자)"
)
_LINKS = (
    r"(?:[가-힣]*(?:보니|으니)|[가-힣]+(?:니까|는데|지만|도록|려고|면서|거나|[아어해여와워가려]서|[어아해여와워려]도|며)"
    r"|(?!라면|냉면|쫄면|화면|수면|표면|비빔면|정면)[가-힣]+면"
    r"|(?!최고|광고|창고|재고|참고|중고|냉장고|신고|보고|사고)[가-힣]+고)"
)
_LEADS = _one_of(
    "한 두 세 네 첫 이 그 저 각 새 이번 지난 다음 최대 최저 최소 연 월 단 오직 가장 약 더 덜 안 못 잘 꼭",
    "딱 참 온 매 전 총 제 내 네 다섯 여섯 일곱 여덟 아홉 열 스무 스물 서른 마흔 쉰 우리 모든 어느 어떤",
    "여러 무려 평당 인당 매주 매달 매월 매년 몇 온갖 둘째 셋째 첫째 바로 다시 직접 함께 같이 정말 아주",
    "너무 늘 미리 많이 조금 좀 그냥 항상 오래 매우 얼마나 왜 어떻게 이런 그런 저런 다른 및 또는 새로 역시",
    "벌써 이미 드디어 이제 아직 곧",
)
_MANNER = r"(?:(?!가게|무게|집게|멍게|꽃게|대게)[가-힣]{1,3}게|[가-힣]{2,3}히)"
_NOUNS = _one_of(
    "행운 다운 타운 제한 무제한 북한 남한 동안 기한 권한 당근 출근 퇴근 사진 하늘 오늘 마을 가을 노을",
    "베란다 어린 배달 개월 오픈",
)
_CLOSED = "".join(chr(code) for code in range(0xAC00, 0xD7A4) if (code - 0xAC00) % 28)
"""Syllables with a final consonant: 는 after one is of a verb (``읽는``), for a noun would take 은."""

_MODIFIES = (
    rf"(?!{_NOUNS}$)(?:[가-힣]*(?:[좋많작높넓깊맑밝짧젊낮같남담찾받먹심삶볶익묵닮품싶않찮늦굵얇짙붉굳]은|[가-힣](?:운|한|근|적인)"
    r"|[된던긴힌킨른든린딴쁜픈큰난]|[가-힣][될릴칠킬갈올볼쓸쉴]|할|[멋빠터가]진|지친|만날|떠날|보낼|지낼|[아어여와]온"
    rf"|[{_CLOSED}]는|(?:하|되|보이|쓰|마시|만드|쉬|키우|배우|나누|즐기|바꾸|깨우|모르|기다리|끝나|빛나|달리|흐르|지키|보내|드리"
    r"|나가|들어가|어울리|내리|부르|느끼|살리|올리|돌보|떠나|만나|열리|지나|채우|비우|머무)는"
    r"|[있없같좋받먹찾담앉입읽않]을)|[살갓갈볼온간한]|나온|(?:가|오|보|사|주|타|아|파|피|노)는)"
)
_CASELESS = (
    r"(?!(?:\S*(?:양이|린이|아이|종이|놀이|걸이|잡이|맞이|볶이|오이|사이|먹이|랑이|팽이|휴가|작가|요가|추가|물가|상가|평가|국가"
    r"|가을|마을|노을|제주도|온도|지도|포도|정도|속도|바로|새로|서로|도로|종로|진로|경로|피로|난로))$)"
)
_BOUND = _one_of(
    "수 것 때 뿐 만큼 줄 중 곳 분 시간 룩 동안 이상 이하 미만 초과 이내 원 년 박 층 평 대 회 번 번째 째",
    "차례 가지 채 즈음 무렵 전 후 날 듯 데 적 척 적립 종일 내내 만에 안에 잔 개 봉 권 명 장 병 벌 켤레",
    "봉지 마리 세트 상자 박스 씩 기준 대비 전용 맛 앞 뒤 옆 위 속 안 밖 하나면 하나로 OFF 된 되는 없는",
    "없이 있는 같은 위한 좋은 하는 하지 않는 아닌 보다 처럼 없다 있다 하다 되어 그대로 대신 이후 이전",
)
_CASED_BOUND = (
    r"(?:(?:수|것|곳|줄|때|뿐|분|중|동안)(?:이|가|은|는|을|를|에|도|만|니|니까요?)+"
    r"|(?:전|후|뒤|만큼|때문|덕분|이상|이하|이내|기준|앞|뒤|옆|위|속)(?:에|에서|에는|까지|부터|으로|이면|이라면|은|는|을|도))"
)
_HELPS = (
    r"(?:보[세자다아시면니는고]|봐|봤|주[세시는면고]|줘|줄|준|드[려립리릴린]|두[세고는면]|둔|버[려린]|가[세요자는고]|갈|간|갔|오[세는면고]"
    r"|와[요서]|온|올|왔|있[는다어을습]|싶[은다어])\S*"
)

_KO: Final[tuple[_Rule, ...]] = (
    _rule(-0.8, _ENDS),
    _rule(3.0, _LEADS),
    _rule(1.3, "new|best|hot|vip|no|the", r"[가-힣].*"),
    _rule(-0.2, r"\d[\d.]*%", rf"{_DATE}|{_DAY}\S*|선착순|.*까지"),
    _rule(3.0, r"[\d.,₩$€+~:-]+%?"),
    _rule(3.0, r"(?:\S*\d)?(?:억|[천백]?만|천)", _AMOUNT),
    _rule(2.5, after=rf"{_BOUND}|{_CASED_BOUND}"),
    _rule(2.5, rf"(?:{_DAY}|{_SEASON}|{_DATE}|{_CLOCK}|주)", rf"(?:{_DAY}|{_CLOCK}|{_DATE})"),
    _rule(2.5, "도보|차로|왕복|편도", r"\d.*"),
    _rule(2.5, r"\d{1,2}월", r"\d{1,2}일\S*|[가-힣]{1,2}째"),
    _rule(2.0, r"[가-힣]+[아어여해와워려겨켜쳐져춰러줘봐]", _HELPS),
    _rule(2.0, r"[가-힣]+지", r"[않못]\S*|말[고아]\S*|마(?:세요|라|십시오)?"),
    _rule(2.0, r"[가-힣]+고", r"(?:나[가간서온]|가[는세고요자]|간|온|오[는세고]|와|싶|있|난|본|둔|계)\S*"),
    _rule(2.0, r"[가-힣]+기", r"(?:좋|쉬|쉽|어려|힘|싫|딱|편|전|때문|위)\S*"),
    _rule(2.0, _PRICED, _AMOUNT),
    _rule(1.6, after=r"(?:위해서?|위하여|대한|대해|통해|통한|관한|향한|향해|따른|따라)"),
    _rule(1.6, r"[가-힣]+의"),
    _rule(1.6, r"(?!\S*(?:사|효|결|성|부|내|외|안|치|학)과$)[가-힣]+(?:와|과|랑|하고)"),
    _rule(1.6, r"[가-힣]+[이가을를에로도]", r"[가-힣]{0,2}[다요죠자까]"),
    _rule(1.6, _MANNER),
    _rule(1.5, "[가-힣]+", r"(?:갈|가는|간|가고|할|하는|한|하고|하면)"),
    _rule(0.8, rf"(?=\S\S){_MODIFIES}"),
    _rule(2.5, _MODIFIES),
    _rule(1.5, r"(?!\S+(?:에서|까지|부터|으로|에|만|도)$)\S+", rf"{_CLOSES}{_PARTICLE}"),
    _rule(1.3, "무료|추가|당일", rf"\S*(?:{_EVENT}|{_OFFERED}){_PARTICLE}"),
    _rule(1.4, rf"(?:{_DAY}|{_SEASON})"),
    _rule(1.3, _AMOUNT, r"(?:쿠폰|상품권|할인|적립|상당|균일가|이상|이하)\S*"),
    _rule(1.3, "번"),
    _rule(1.4, r"[잔개봉권명장병벌]|마리|켤레|봉지|상자", r"[가-힣]{1,4}(?:면|고|서|며|니|는|으로)"),
    _rule(1.3, r"[가-힣]+", r"[가-힣]{0,2}(?:니다|세요|어요|아요|려요|해요)"),
    _rule(0.3, r".*\d(?:분|시간)"),
    _rule(1.3, rf"(?!.*일$){_COUNT}"),
    _rule(-0.3, after=rf"(?:{_DATE}|{_CLOCK}|{_DAY}\S{{0,2}}|선착순)"),
    _rule(-0.2, after=rf"(?:{_MONEY}|\d+인(?:부터|까지|당|분)|1인당|[1-9]박|월|연|전세|월세)"),
    _rule(-0.2, _AMOUNT),
    _rule(-0.1, _LINKS),
    _rule(-0.3, rf"{_CLOSES}|무료"),
    _rule(UNKNOWN, after="무료"),
    _rule(1.3, r"(?!\S+(?:에서|까지|부터|으로|에|만|도|를|을)$)\S+", rf"\S{{0,2}}{_EVENT}{_PARTICLE}"),
    _rule(PARTED, rf"{_EVENT}|{_OFFERED}", rf"{_COUNT}\S*"),
    _rule(1.15, after=_OFFERED),
    _rule(0.3, rf"\S{{0,2}}{_EVENT}|{_OFFERED}"),
    _rule(1.15, after=rf"{_COUNT}\S*|\d[\d,.]*"),
    _rule(0.0, rf"{_CASELESS}\S+(?:에서|까지|부터|에게|한테|로|에|도|만|께|보다|처럼|엔|는|은|마다|대로|라면)"),
    _rule(0.1, rf"{_CASELESS}[가-힣]+[이가을를]"),
    _rule(0.0, r"[A-Z0-9][\w&'.+-]*", r"[가-힣].*"),
)

_EN: Final[tuple[_Rule, ...]] = (
    _rule(0.0, "those|these|people|anyone", "who|that"),
    _rule(
        3.0,
        _one_of(
            "an? the of to in on at for with by from and or no not never is are was be it's as than per your our",
            "my his her their its every each this that these those any i we you they who very too so more most",
            "just only under over about half get own while before after when where because until till since into",
            "without near during along & [+]",
        ),
    ),
    _rule(
        -0.2,
        r"[\d:]+(?:am|pm)?|[$€£₩]\d\S*",
        "starts?|begins?|order|book|call|pets|kids|members|students|(?-i:[A-Z]).*",
    ),
    _rule(3.0, r"[\d.,$€£₩+~:-]+%?"),
    _rule(3.0, r"(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*", r"\d.*"),
    _rule(
        2.5,
        r".*\d.*",
        r"(?:an?|per|each|off|to|and|or|only|am|pm|minutes?|hours?|days?|nights?|weeks?|months?|years?|free)",
    ),
    _rule(
        2.5,
        r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?",
        r"(?:at|nights?|mornings?|evenings?|afternoons?|\d.*|and|to)",
    ),
    _rule(
        2.0,
        _one_of(
            "one two three four five six seven eight nine ten first second third next last buy pay save starts",
            "begins",
        ),
    ),
    _rule(
        1.3,
        _one_of("best new fresh free whole big small little great good cozy perfect real true full early hot cold old"),
    ),
    _rule(1.3, _one_of("order book call buy join bring take come try learn")),
    _rule(1.6, after=_one_of("ups? off out away ago later old only each too together included it")),
    _rule(-0.2, after=r"[$€£₩]\d.*"),
    _rule(
        -0.2,
        _one_of(
            "day night week month year hour person morning evening weekend summer winter spring now today tonight",
            "daily weekly",
        ),
    ),
    _rule(1.6, r"[a-z]+", r"\d.*"),
    _rule(
        -0.2,
        after=_one_of(
            "for from with in on at by until till before after when while where because since into under over",
            "without near during along plus and or but who that which every starts? starting call order book buy",
            "join bring take come learn now no",
        ),
    ),
    _rule(0.1, after=_one_of("all this just your our my the an? you we i save get")),
    _rule(-0.2, after=r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?"),
    _rule(1.2, r"(?-i:[A-Z])[a-z]+", r"(?-i:[A-Z])[a-z]+"),
)


CLOSED: Final = re.compile(rf"(?:included|welcome|free|only|provided|{_ENDS}|\S{{0,3}}{_CLOSES}|무료|무한)$")
"""A word that ends a phrase or a sentence by itself."""


PRICE: Final = re.compile(_MONEY)


@lru_cache(maxsize=16384)
def bond(before: str, after: str) -> float:
    """How bad it is to part ``before`` and ``after``: below 0 it is good, from ``TIED`` on it is wrong."""
    if is_emoji(after) or after[0] in "—–-·/)&+" or before[-1] in "—–-·/&+(" or "~" in (before, after):
        return 3.0
    if before[-1] in ",.!?…:;~":
        return -1.0
    if "(" in before and ")" not in before:
        return 2.0
    next_ = after.rstrip(",.!?…~")
    rules = _KO if re.search("[가-힣]", before + after) else _EN
    found = (cost for cost, first, second in rules if first.fullmatch(before) and second.fullmatch(next_))
    cost = next(found, UNKNOWN)
    # A comma comes soon, and is the better place: 우리 회사 / 로고,
    return cost + 0.8 * (len(after) > 1 and after[-1] == ",")
