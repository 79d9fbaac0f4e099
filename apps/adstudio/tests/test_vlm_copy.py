"""A copy that a model parts: over a real socket, and by the rules wherever the model's word does not hold."""

from __future__ import annotations

import json

import pytest
from talking_model import saying, serving

from adstudio.vision.copy_reading import read_copy
from adstudio.vision.vlm_copy import CopyAnswer, read_with

TEXT = "봄을 선물하세요. 첫 구매 20% 할인"
NONE = dict.fromkeys(CopyAnswer.model_fields, "")
WELL = NONE | {"headline": "봄을 선물하세요.", "offer": "첫 구매 20% 할인"}


async def test_a_model_parts_the_copy_and_is_asked_without_a_picture() -> None:
    text = "동네 책방 느린오후. 책 한 권에 커피 한 잔 무료"
    answer = NONE | {"brand": "동네 책방 느린오후.", "headline": "책 한 권에 커피 한 잔 무료"}
    async with serving(saying(answer)) as server:
        copy = await read_with(server.endpoint(), text)
    assert copy.brand == "동네 책방 느린오후."
    assert copy.original == text
    content = server.bodies[0]["messages"][0]["content"]
    assert [part["type"] for part in content] == ["text"]
    assert json.loads(content[0]["text"].rsplit("\n", 1)[1]) == text
    assert server.bodies[0]["response_format"]["json_schema"]["name"] == "CopyAnswer"


@pytest.mark.parametrize(
    "answer",
    [
        WELL | {"offer": "첫 구매 30% 할인"},
        WELL | {"offer": "첫 구매 20 할인"},
        WELL | {"offer": ""},
        WELL | {"sub": "지금 만나 보세요"},
        WELL | {"headline": ""},
        WELL | {"headline": "봄을 선물하세요. 첫", "offer": "구매 20% 할인"},
        WELL | {"price": "20%"},
        {"headline": "봄을 선물하세요."},
    ],
    ids=[
        "another word",
        "a sign lost",
        "a word lost",
        "a word added",
        "no headline",
        "cut inside",
        "another key",
        "keys missing",
    ],
)
async def test_an_answer_that_is_not_the_clients_words_gives_way_to_the_rules(answer: dict[str, str]) -> None:
    async with serving(saying(answer)) as server:
        assert await read_with(server.endpoint(), TEXT) == read_copy(TEXT)


async def test_a_model_that_is_away_gives_way_to_the_rules() -> None:
    async with serving(saying(WELL)) as server:
        endpoint = server.endpoint()
    assert await read_with(endpoint, TEXT) == read_copy(TEXT)
    assert await read_with(None, TEXT) == read_copy(TEXT)
