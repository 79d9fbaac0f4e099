"""The things that a copy names and a detector can see: the ad is about them."""

from __future__ import annotations

from typing import Final

_WORDS: Final = {
    "person": "모델 사람",
    "bicycle": "자전거 bike bicycle",
    "car": "자동차 승용차 차량 세단 car",
    "motorcycle": "오토바이 바이크 motorcycle",
    "airplane": "항공 비행기 flight flights airplane",
    "bus": "버스 bus",
    "train": "기차 열차 ktx train",
    "boat": "보트 요트 유람선 boat",
    "bench": "벤치 bench",
    "bird": "새 bird",
    "cat": "고양이 냥이 캣 cat",
    "dog": "강아지 반려견 멍멍이 산책 dog dogs puppy",
    "horse": "승마 말 horse",
    "backpack": "배낭 백팩 backpack",
    "umbrella": "우산 umbrella",
    "handbag": "핸드백 가방 handbag bag",
    "tie": "넥타이 tie",
    "suitcase": "캐리어 여행가방 suitcase luggage",
    "skis": "스키 ski skis",
    "snowboard": "스노보드 snowboard",
    "skateboard": "스케이트보드 skateboard",
    "kite": "연날리기 kite kites",
    "surfboard": "서핑 서프보드 surf surfboard",
    "tennis racket": "테니스 tennis",
    "bottle": "와인 음료 주스 생수 맥주 소주 세럼 앰플 wine bottle beer juice serum",
    "wine glass": "와인 wine",
    "cup": "커피 라떼 아메리카노 카페 머그 coffee latte espresso mug tea",
    "bowl": "그릇 볼 샐러드 bowl salad",
    "banana": "바나나 banana",
    "apple": "사과 apple",
    "sandwich": "샌드위치 sandwich",
    "orange": "오렌지 귤 한라봉 orange",
    "pizza": "피자 pizza",
    "donut": "도넛 donut",
    "cake": "케이크 cake",
    "chair": "의자 체어 chair",
    "couch": "소파 sofa couch",
    "potted plant": "화분 식물 plant",
    "bed": "침대 매트리스 bed mattress",
    "dining table": "식탁 table",
    "tv": "티비 tv 모니터 monitor",
    "laptop": "노트북 laptop",
    "keyboard": "키보드 keyboard",
    "cell phone": "휴대폰 스마트폰 phone",
    "oven": "오븐 oven",
    "refrigerator": "냉장고 refrigerator",
    "book": "책 도서 book books",
    "clock": "시계 clock watch",
    "vase": "꽃병 화병 vase",
    "teddy bear": "곰인형 teddy",
}


def named_in(copy: str) -> frozenset[str]:
    """The COCO labels that ``copy`` names: Korean words by their beginning, as particles follow them; English whole."""
    words = copy.casefold().replace("\n", " ").split()
    bare = [word.strip(",.!?~“”‘’'\"()") for word in words]
    return frozenset(
        label
        for label, names in _WORDS.items()
        for name in names.split()
        if any(word == name or (len(name) > 1 and not name.isascii() and word.startswith(name)) for word in bare)
    )
