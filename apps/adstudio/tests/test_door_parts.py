"""The door's decisions, apart from sockets and database: who asks, from where, what for, and how far a job is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import HTTPException
from starlette.requests import Request

from adstudio.config import AppSettings
from adstudio.door.ad import State
from adstudio.door.forgery import refuse_foreign_forms, refuse_other_sites
from adstudio.door.order import language_of, read_order
from adstudio.door.pages import steps_of
from adstudio.door.rows import ad_of, state_of
from adstudio.door.tenants import SESSION_COOKIE, SESSION_SECONDS, Tenants
from adstudio.door.texts import TEXTS, preferred
from adstudio.vision.errors import InputError
from adstudio.vision.formats import DEFAULT
from pgbaton.errors import ConfigError

ACME, GLOBEX = "the-token-of-acme-1", "the-token-of-globex"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def request(query: str = "", **headers: str) -> Request:
    named = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": named, "query_string": query.encode(), "path": "/ads"})


@pytest.fixture
def tenants() -> Tenants:
    return Tenants({"acme": ACME, "글로벡스": GLOBEX})


def test_a_token_names_its_tenant_and_no_other(tenants: Tenants) -> None:
    assert tenants.asking(request(authorization=f"Bearer {ACME}")) == "acme"
    assert tenants.asking(request(authorization=f"bearer  {GLOBEX}")) == "글로벡스"


@pytest.mark.parametrize(
    "said", ["", "Bearer", f"Basic {ACME}", "Bearer nonsense", f"Bearer {ACME} ", f"Bearer {ACME}x"]
)
def test_where_there_are_tokens_no_request_without_one_is_answered(tenants: Tenants, said: str) -> None:
    if said == f"Bearer {ACME} ":
        assert tenants.asking(request(authorization=said)) == "acme"
        return
    with pytest.raises(HTTPException) as refused:
        tenants.asking(request("tenant=acme", authorization=said, x_tenant_id="acme"))
    assert refused.value.status_code == 401


def test_a_session_is_its_tenants_until_it_is_over(tenants: Tenants) -> None:
    for tenant in ("acme", "글로벡스"):
        session = tenants.begin(tenant, now=1000)
        asked = request(cookie=f"{SESSION_COOKIE}={session}")
        assert tenants.by_session(asked, now=1000 + SESSION_SECONDS - 1) == tenant
        assert tenants.by_session(asked, now=1000 + SESSION_SECONDS) is None


def test_a_session_that_was_tampered_with_is_nobodys(tenants: Tenants) -> None:
    session = tenants.begin("acme")
    name, until, signature = session.split(".")
    other = tenants.begin("글로벡스").split(".")[0]
    for forged in (
        f"{other}.{until}.{signature}",
        f"{name}.{int(until) + 1}.{signature}",
        f"{name}.{until}.{signature[:-1]}0",
        f"{name}.{until}",
        "a.b.c",
        "...",
        "x" * 5000,
    ):
        if forged != session:
            assert tenants.by_session(request(cookie=f"{SESSION_COOKIE}={forged}")) is None
    changed = Tenants({"acme": "another-token-of-acme"})
    assert changed.by_session(request(cookie=f"{SESSION_COOKIE}={session}")) is None


def test_an_open_door_takes_a_requests_word_for_it() -> None:
    door = Tenants({})
    assert door.asking(request("tenant=acme")) == "acme"
    assert door.asking(request(x_tenant_id="acme")) == "acme"
    assert door.asking(request()) is None
    for wrong in ("%00", "%0a", "a" * 256, "%20a"):
        with pytest.raises(HTTPException) as refused:
            door.asking(request(f"tenant={wrong}"))
        assert refused.value.status_code == 422


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        ({"acme": "short"}, "too short"),
        ({"acme": ACME, "globex": ACME}, "the same token"),
        ({" ": ACME}, "a tenant's name"),
        ({"a\nb": ACME}, "a tenant's name"),
    ],
)
def test_tokens_that_protect_no_tenant_are_refused(tokens: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        Tenants(tokens)
    assert ACME not in str(refused.value)


@pytest.mark.parametrize(("text", "says"), [("acme", "tenant=token"), (f"a={ACME},a={GLOBEX}", "named twice")])
def test_tokens_are_read_from_one_setting(text: str, says: str) -> None:
    read = AppSettings(ads_tokens=f" acme = {ACME} , globex={GLOBEX}")  # type: ignore[arg-type]
    assert read.tenants == {"acme": ACME, "globex": GLOBEX}
    assert ACME not in repr(read)
    with pytest.raises(ConfigError, match=says):
        _ = AppSettings(ads_tokens=text).tenants  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({}, True),
        ({"sec_fetch_site": "same-origin", "origin": "https://ads.example"}, True),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"origin": "http://ads.example", "host": "ads.example"}, True),
        ({"origin": "http://ADS.example:80", "host": "ads.example:80"}, True),
        ({"origin": "http://evil.example", "host": "ads.example"}, False),
        ({"origin": "null", "host": "ads.example"}, False),
        ({"origin": "http://[", "host": "ads.example"}, False),
        ({"origin": "http://ads.example"}, False),
    ],
)
def test_a_request_of_another_sites_page_is_told_apart(headers: dict[str, str], ours: bool) -> None:
    if ours:
        refuse_other_sites(request(**headers))
        return
    with pytest.raises(HTTPException) as refused:
        refuse_other_sites(request(**headers))
    assert refused.value.status_code == 403


def test_a_cookie_without_the_forms_own_token_changes_nothing(tenants: Tenants) -> None:
    session = request(cookie=f"{SESSION_COOKIE}={tenants.begin('acme')}")
    token = tenants.form_token(session)
    refuse_foreign_forms(session, tenants, token)
    refuse_foreign_forms(request(authorization=f"Bearer {ACME}"), tenants, "")
    another = tenants.form_token(request(cookie=f"{SESSION_COOKIE}={tenants.begin('acme', now=1e10)}"))
    for wrong in ("", "x", token[:-1], another):
        with pytest.raises(HTTPException):
            refuse_foreign_forms(session, tenants, wrong)


@pytest.mark.parametrize(
    ("texts", "reader", "language"),
    [
        ({"copy": "Slow mornings"}, "ko", "en"),
        ({"copy": "느린 아침"}, "en", "ko"),
        ({"headline": "Slow", "sub": "느리게"}, "en", "ko"),
        ({"copy": ""}, "ko", "ko"),
        ({"copy": "50%"}, "en", "en"),
        ({"copy": "느린 아침", "language": "en"}, "ko", "en"),
        ({"copy": "Slow", "language": "fr"}, "ko", "en"),
    ],
)
def test_a_client_is_answered_in_the_copys_language(texts: dict[str, str], reader: Any, language: str) -> None:
    assert language_of(texts, reader) == language


async def test_an_order_is_one_string_or_roles_but_not_both() -> None:
    assert (await read_order({"copy": "봄을 선물하세요"}, [])).copy.headline == "봄을 선물하세요"
    order = await read_order(
        {"headline": "Reach for more", "offer": "20% OFF", "copy": " "}, ["story, square", "story"]
    )
    assert (order.copy.headline, order.copy.offer, order.formats) == ("Reach for more", "20% OFF", ("story", "square"))
    assert (await read_order({"headline": "Up"}, [])).formats == tuple(DEFAULT)
    with pytest.raises(InputError, match="not both"):
        await read_order({"copy": "Up", "headline": "Down"}, [])
    with pytest.raises(InputError, match="There is no format poster"):
        await read_order({"copy": "Up"}, ["poster"])


def row(**columns: object) -> Mapping[str, Any]:
    names = (
        "copy_ko copy_en copy_fields formats refused passed judge reasons checks note_step sentence final noted_at "
        "approved reason chosen decided_at"
    )
    return {
        **dict.fromkeys(names.split()),
        "job_id": UUID(int=7),
        "tenant_id": "acme",
        "current_step": "img_gen",
        "status": "done",
        "created_at": NOW,
        "updated_at": NOW,
        "has_photo": True,
        **columns,
    }


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({}, State.WAITING),
        ({"status": "running"}, State.WAITING),
        ({"current_step": "planner", "status": "running"}, State.WORKING),
        ({"current_step": "planner", "status": "done"}, State.WORKING),
        ({"current_step": "planner", "status": "failed"}, State.FAILED),
        ({"final": False, "noted_at": NOW}, State.HELD),
        ({"final": False, "noted_at": NOW - timedelta(seconds=1)}, State.WAITING),
        ({"final": True, "noted_at": NOW}, State.WAITING),
        ({"current_step": "vlm_judge", "status": "running"}, State.WORKING),
        ({"current_step": "vlm_judge", "status": "done"}, State.FINISHED),
        ({"current_step": "vlm_judge", "status": "given_up"}, State.FAILED),
        ({"current_step": "variants", "status": "waiting"}, State.WORKING),
        ({"current_step": "review", "status": "waiting"}, State.FINISHED),
        ({"current_step": "review", "status": "approved"}, State.APPROVED),
        ({"current_step": "review", "status": "expired"}, State.REJECTED),
        ({"current_step": "vlm_judge", "status": "done", "approved": True}, State.APPROVED),
        ({"current_step": "vlm_judge", "status": "done", "approved": False}, State.REJECTED),
    ],
)
def test_where_a_job_is_as_a_client_sees_it(columns: dict[str, object], state: State) -> None:
    assert state_of(row(**columns)) is state


def test_only_a_note_about_the_step_that_failed_is_told() -> None:
    failed = {"current_step": "planner", "status": "failed", "sentence": "No room.", "final": True, "noted_at": NOW}
    assert ad_of(row(**failed, note_step="planner"), [], "/ads").sentence == "No room."
    assert ad_of(row(**failed, note_step="vlm_analyze"), [], "/ads").sentence is None


def test_the_steps_of_a_job_that_failed_stop_there() -> None:
    ad = ad_of(row(current_step="yolo_detect", status="failed"), [], "/ads")
    assert [state for _, state in steps_of(ad)] == ["done", "done", "failed", "next", "next", "next"]
    done = ad_of(row(current_step="vlm_judge", status="done"), [], "/ads")
    assert {state for _, state in steps_of(done)} == {"done"}
    waiting = ad_of(row(), [], "/ads")
    assert [state for _, state in steps_of(waiting)][:2] == ["done", "now"]


def test_the_suggested_picture_of_each_format_is_chosen_unless_a_person_chose_another() -> None:
    pictures = [
        {"format": name, "place": place, "master": "split", "passed": True, "reasons": "[]", "checks": "[]"}
        for name in ("story", "square")
        for place in (0, 1, 2)
    ]
    ad = ad_of(row(), pictures, "/ads")
    assert [(p.format, p.place) for p in ad.chosen()] == [("square", 0), ("story", 0)]
    decided = row(approved=True, reason="", chosen='{"story": 2, "gone": 1}', decided_at=NOW)
    assert [(p.format, p.place) for p in ad_of(decided, pictures, "/ads").chosen()] == [("square", 0), ("story", 2)]


def test_every_text_is_there_in_both_languages_and_takes_the_same_values() -> None:
    for key, (korean, english) in TEXTS.items():
        assert korean, key
        assert english, key
        assert korean.count("{") == english.count("{"), key


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("ko-KR,ko;q=0.9,en;q=0.8", "ko"), ("en;q=0.2, ko;q=0.9", "ko"), ("fr", "en"), ("", "en"), ("ko;q=x,en", "en")],
)
def test_the_browsers_language_is_heeded(accepted: str, language: str) -> None:
    assert preferred(accepted, "en") == language
