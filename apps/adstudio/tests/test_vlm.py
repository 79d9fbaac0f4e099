"""The vision model's client, against a real server on a real socket that answers well, badly or not at all."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time

import pytest
from pydantic import SecretStr
from talking_model import GOOD, KEY, PHOTO, Reply, completion, http, saying, serving

from adstudio.vision.vlm import VisionAway, VisionNonsense, ask
from adstudio.vision.vlm_endpoint import VisionEndpoint
from adstudio.vision.vlm_verdict import PhotoAnswer, vlm_validate


async def test_a_good_answer_is_returned_as_the_schema() -> None:
    async with serving(saying(GOOD)) as server:
        assert await server.asked() == PhotoAnswer.model_validate(GOOD)


async def test_the_question_is_a_chat_completion_with_picture_schema_and_key() -> None:
    async with serving(saying(GOOD)) as server:
        await server.asked()
    assert server.heads[0].startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"authorization: Bearer {KEY}".lower() in server.heads[0].lower()
    body = server.bodies[0]
    assert (body["model"], body["temperature"]) == ("llava:7b", 0)
    text, picture = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "Well?"}
    assert picture["image_url"]["url"] == "data:image/jpeg;base64," + base64.b64encode(b"a jpeg").decode()
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"fits_copy", "publishable", "reasons"}


async def test_without_a_key_none_is_sent() -> None:
    async with serving(saying(GOOD)) as server:
        await ask(server.endpoint(key=None), b"a jpeg", "Well?", PhotoAnswer)
    assert "authorization" not in server.heads[0].lower()


@pytest.mark.parametrize("fence", ["```json\n%s\n```", "```\n%s\n```", "\n ```json\n%s\n```\n"])
async def test_a_fenced_answer_is_taken_out_of_its_fence(fence: str) -> None:
    async with serving(completion(fence % json.dumps(GOOD, indent=1))) as server:
        assert await server.asked() == PhotoAnswer.model_validate(GOOD)


@pytest.mark.parametrize(
    "content",
    [
        "The photo looks great!",
        "",
        "null",
        "true",
        "[]",
        f"Sure! Here it is: {json.dumps(GOOD)}",
        f"```json\n{json.dumps(GOOD)}\n```\nI hope this helps.",
        json.dumps(GOOD) * 2,
        json.dumps(GOOD)[:-5],
        "[" * 100_000,
    ],
)
async def test_nonsense_is_refused_and_never_guessed_from(content: str) -> None:
    async with serving(completion(content)) as server:
        assert "did not answer as asked" in await server.nonsense()
    assert len(server.bodies) == 2
    assert "Your last answer was refused: " in server.bodies[1]["messages"][0]["content"][0]["text"]


async def test_a_model_that_mends_its_answer_when_told_what_was_wrong_is_believed() -> None:
    said = ["Great photo!", json.dumps(GOOD)]

    async def reply(writer: asyncio.StreamWriter) -> None:
        await completion(said.pop(0))(writer)

    async with serving(reply) as server:
        assert await server.asked() == PhotoAnswer.model_validate(GOOD)
    assert said == []


async def test_the_thoughts_of_a_model_before_it_answers_are_not_its_answer() -> None:
    async with serving(completion(f"<think>\nA cup? {{}}\n</think>\n{json.dumps(GOOD)}")) as server:
        assert await server.asked() == PhotoAnswer.model_validate(GOOD)


async def test_a_server_that_knows_no_schemas_is_asked_without() -> None:
    async def reply(writer: asyncio.StreamWriter) -> None:
        known = "response_format" not in server.bodies[-1]
        await (saying(GOOD) if known else http(b"unknown field: response_format", "400 Bad Request"))(writer)

    async with serving(reply) as server:
        assert await server.asked() == PhotoAnswer.model_validate(GOOD)
    assert len(server.bodies) == 2


async def test_nonsense_twice_is_told_in_two_languages_and_kept_bounded() -> None:
    async with serving(completion("blah \0 " * 2000)) as server:
        with pytest.raises(VisionNonsense) as caught:
            await vlm_validate(server.endpoint(), PHOTO, "커피", "ko")
    assert caught.value.told("ko") == "비전 모델(llava:7b)이 이 사진에 대해 쓸 수 있는 답을 주지 않았습니다."
    assert "blah" not in caught.value.told("en")
    trace = caught.value.trace
    assert trace is not None
    assert (trace["model"], trace["prompt"]) == ("llava:7b", "photo-1")
    answers = trace["answers"]
    assert isinstance(answers, list)
    assert [len(answer) for answer in answers] == [4000, 4000]
    assert "\0" not in json.loads(json.dumps(answers))[0]


@pytest.mark.parametrize(
    "change",
    [
        {"publishable": "yes"},
        {"publishable": 1},
        {"publishable": None},
        {"reasons": "because"},
        {"reasons": [1]},
        {"reasons": [""]},
        {"reasons": ["x" * 501]},
        {"reasons": ["x"] * 11},
        {"confidence": 0.9},
    ],
)
async def test_an_answer_of_the_wrong_types_is_refused_by_the_field(change: dict[str, object]) -> None:
    async with serving(saying(GOOD | change)) as server:
        message = await server.nonsense()
    assert next(iter(change)) in message
    assert "xxxx" not in message


async def test_an_answer_with_a_field_missing_is_refused() -> None:
    async with serving(saying({"publishable": True})) as server:
        assert "fits_copy: Field required" in await server.nonsense()


async def test_a_refusal_tells_a_long_made_up_field_in_one_short_line() -> None:
    async with serving(saying(GOOD | {"evil\n" * 1000: 1})) as server:
        message = await server.nonsense()
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    "reply",
    [
        http(b""),
        http(b"<html>nginx</html>"),
        http(b"\xff\xfe\x00"),
        http(b'{"choices": []}'),
        http(b'{"error": {"message": "no such model"}}'),
        completion([{"type": "text", "text": "hi"}]),
    ],
)
async def test_an_answer_that_is_no_chat_completion_is_refused(reply: Reply) -> None:
    async with serving(reply) as server:
        assert "as the chat API does" in await server.away()


async def test_a_model_that_says_nothing_is_refused() -> None:
    async with serving(completion(None)) as server:
        assert "it said nothing" in await server.nonsense()


async def test_an_answer_that_was_cut_off_is_refused_even_if_it_parses() -> None:
    async with serving(completion(json.dumps(GOOD), finish_reason="length")) as server:
        assert "cut off" in await server.nonsense()


async def test_a_server_that_is_busy_says_for_how_long() -> None:
    for header, seconds in (("7", 7.0), ("9999999", 300.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)):
        async with serving(http(b"", "429 Too Many Requests", f"Retry-After: {header}")) as server:
            with pytest.raises(VisionAway) as caught:
                await server.asked()
        assert caught.value.retry_after == seconds


@pytest.mark.parametrize("status", ["400 Bad", "413 Large", "422 No"])
async def test_a_question_that_the_server_cannot_take_is_not_asked_for_ever(status: str) -> None:
    async with serving(http(b"the key was " + KEY.encode(), status)) as server:
        message = await server.nonsense()
    assert f"HTTP status {status[:3]}" in message
    assert "the key was" not in message


@pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "404 Nope", "401 Who", "204 None", "201 Created"])
async def test_any_status_but_200_is_refused_with_its_number_and_without_its_body(status: str) -> None:
    async with serving(http(b"the key was " + KEY.encode(), status)) as server:
        message = await server.away()
    assert status[:3] in message
    assert "the key was" not in message


async def test_a_redirect_is_not_followed() -> None:
    async with serving(saying(GOOD)) as elsewhere:
        location = f"Location: http://127.0.0.1:{elsewhere.port}/v1/chat/completions"
        for status in ("302 Found", "307 Temporary", "308 Permanent"):
            async with serving(http(b"", status, location)) as server:
                assert "redirect" in await server.away()
    assert elsewhere.heads == []


async def test_a_server_that_never_answers_is_given_up_after_the_timeout() -> None:
    async def never(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async with serving(never) as server:
        began = time.monotonic()
        assert "did not answer within 0.3 s" in await server.away(timeout=0.3)
        assert time.monotonic() - began < 2


async def test_a_server_that_drips_its_answer_is_given_up_after_the_timeout() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving(drip) as server:
        assert "did not answer within 0.5 s" in await server.away(timeout=0.5)


async def test_a_huge_answer_is_given_up_before_it_is_read_whole() -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(1000):
            writer.write(b" " * 100_000)
            await writer.drain()
            sent += 100_000

    async with serving(flood) as server:
        assert "more than 1048576 bytes" in await server.nonsense()
    assert sent < 20_000_000


async def test_an_answer_that_breaks_off_is_refused() -> None:
    async def broken(writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"choices')

    async with serving(broken) as server:
        assert "could not be asked" in await server.away()


async def test_a_server_that_does_not_listen_is_an_error_that_does_not_show_the_url() -> None:
    endpoint = VisionEndpoint("http://user:hunter2@127.0.0.1:9/v1", "llava", SecretStr(KEY), 2.0)
    with pytest.raises(VisionAway, match=r"llava could not be asked \(ConnectError\)") as caught:
        await ask(endpoint, b"a jpeg", "Well?", PhotoAnswer)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("url", "key"), [("not a url", KEY), ("http://127.0.0.1:1/v1", "bad\nkey")])
async def test_an_endpoint_that_cannot_work_is_a_vision_error(url: str, key: str) -> None:
    with pytest.raises(VisionAway, match="could not be asked"):
        await ask(VisionEndpoint(url, "llava", SecretStr(key), 2.0), b"a jpeg", "Well?", PhotoAnswer)


async def test_the_key_is_neither_shown_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serving(http(b"", "500 Oops")) as server:
            assert KEY not in repr(server.endpoint())
            await server.away()
    assert KEY not in caplog.text
    assert base64.b64encode(b"a jpeg").decode() not in caplog.text


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(saying(GOOD)) as proxy, serving(saying(GOOD)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await server.asked()
    assert len(server.heads) == 1
    assert proxy.heads == []


async def test_a_cancelled_question_lets_go_at_once() -> None:
    asked = asyncio.Event()

    async def never(_: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.sleep(30)

    async with serving(never) as server:
        asking = asyncio.create_task(server.asked(timeout=30))
        await asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
