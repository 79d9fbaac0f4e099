"""No reader sees or does more than their rights allow, with any request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Header, HTTPException
from house import OPERATOR, VIEWER, serving
from pydantic import SecretStr

from pgbaton import Settings
from pgbaton.cached import OLDEST
from pgbaton.errors import ConfigError
from pgbaton.web import Identity, Role, dashboard, data, pages
from pgbaton.web.access import LoginThrottle, Tokens

PAGES = ("/", "/jobs", "/job?key=x", "/dead", "/stages", "/workers", "/audit", "/confirm")


class Client:
    """A browser's requests without a browser."""

    def __init__(self, base: str) -> None:
        self.origin = base.removesuffix("/pgbaton")
        self.http = httpx.AsyncClient(base_url=base)

    async def post(self, path: str, data: dict[str, str], **headers: str) -> httpx.Response:
        return await self.http.post(path, data=data, headers={"Origin": self.origin, **headers})

    async def sign_in(self, token: str) -> str:
        assert (await self.post("/login", {"token": token})).status_code == 303
        return await self.form_token()

    async def form_token(self) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', (await self.http.get("/stages")).text)
        assert found is not None
        return found[1]


@pytest_asyncio.fixture(loop_scope="session")
async def client(base: str) -> AsyncIterator[Client]:
    made = Client(base)
    yield made
    await made.http.aclose()


async def paused(db: asyncpg.Connection) -> bool:
    return bool(await db.fetchval("SELECT paused_at IS NOT NULL FROM pgbaton.pipelines"))


PAUSE = {"action": "pause", "scope": "pipeline"}


async def test_no_screen_waits_for_a_second_connection_while_it_holds_one(
    client: Client, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many viewers as the pool has connections would otherwise wait for one another."""
    monkeypatch.setattr(data, "CONNECTIONS", 1)
    await client.sign_in(OPERATOR)
    job = await db.fetchval("SELECT job_key FROM pgbaton.dispatches WHERE state = 'dead' LIMIT 1")
    for path in ("/", "/jobs", f"/job?key={job}", "/dead", "/stages", "/workers", "/audit", "/confirm?action=retry"):
        await asyncio.sleep(OLDEST)  # what is shared is old: it has to be read again
        assert (await client.http.get(path, timeout=8)).status_code == 200, path


@pytest.mark.looks
async def test_a_reader_who_is_not_signed_in_sees_nothing(client: Client) -> None:
    for path in PAGES:
        answer = await client.http.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/pgbaton/login?back=")
    assert (await client.http.get("/live")).status_code == 401
    assert (await client.http.get("/jobs", headers={"HX-Request": "true"})).status_code == 401
    assert (await client.post("/act", PAUSE)).status_code == 401


@pytest.mark.looks
async def test_a_viewer_sees_everything_and_does_nothing(client: Client, db: asyncpg.Connection) -> None:
    token = await client.sign_in(VIEWER)
    for path in PAGES[:-1]:
        assert (await client.http.get(path)).status_code in (200, 404)
    assert "/act" not in (await client.http.get("/stages")).text
    assert (await client.http.get("/confirm")).status_code == 403
    assert (await client.post("/act", {**PAUSE, "csrf": token})).status_code == 403
    assert not await paused(db)


async def test_a_form_without_our_token_is_refused(client: Client, db: asyncpg.Connection) -> None:
    token = await client.sign_in(OPERATOR)
    other = Client(str(client.http.base_url).rstrip("/"))
    theirs = await other.sign_in(OPERATOR)
    for forged in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": theirs}, {"csrf": "é"}):
        assert (await client.post("/act", {**PAUSE, **forged})).status_code == 403
    assert not await paused(db)
    assert (await client.post("/act", {**PAUSE, "csrf": token})).status_code == 303
    assert await paused(db)
    await other.http.aclose()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://[bad"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
@pytest.mark.looks
async def test_a_form_of_another_origin_is_refused(
    client: Client, db: asyncpg.Connection, headers: dict[str, str]
) -> None:
    token = await client.sign_in(OPERATOR)
    assert (await client.post("/act", {**PAUSE, "csrf": token}, **headers)).status_code == 403
    assert (await client.post("/login", {"token": OPERATOR}, **headers)).status_code == 403
    assert not await paused(db)


@pytest.mark.looks
async def test_a_forged_session_is_none(client: Client) -> None:
    await client.sign_in(VIEWER)
    real = client.http.cookies["pgbaton_session"]
    role, sid, until, signature = real.split(".")
    forgeries = (
        f"operator.{sid}.{until}.{signature}",
        f"{role}.{sid}.{int(until) + 99999}.{signature}",
        f"{role}.{sid}.{until}.",
        f"{role}.{sid}.{until}.{'0' * 64}",
        "....",
        "x" * 5000,
        "viewer.\xff",
    )
    for forged in forgeries:
        assert Tokens(OPERATOR, VIEWER).read(forged) is None
    assert Tokens(OPERATOR, VIEWER).read(real) is Role.VIEWER
    assert Tokens(OPERATOR, VIEWER).read(real, now=float(until) + 1) is None
    assert Tokens(OPERATOR, "another-viewer-token").read(real) is None


@pytest.mark.looks
async def test_the_session_cookie_is_out_of_reach(client: Client) -> None:
    answer = await client.post("/login", {"token": OPERATOR})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/pgbaton/" in cookie
    assert OPERATOR not in cookie


async def test_guessing_is_slowed_down(client: Client) -> None:
    for _ in range(10):
        assert (await client.post("/login", {"token": "guess"})).status_code == 401
    answer = await client.post("/login", {"token": OPERATOR})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


async def test_workers_wanted_are_told_to_a_program_that_has_a_token(client: Client) -> None:
    async def ask(token: str, asked: str = "capacity=8") -> httpx.Response:
        return await client.http.get(f"/wanted?{asked}", headers={"Authorization": f"Bearer {token}"})

    told = await ask(VIEWER)
    assert told.status_code == 200
    assert told.json()["workers"] >= 1
    assert {"stage", "waiting", "under_way", "takes", "calls", "kept_by"} == set(told.json()["stages"][0])
    for wrong in ("", "capacity=0", "capacity=8&within=0", "capacity=8&stages=nowhere"):
        assert (await ask(VIEWER, wrong)).status_code == 422
    assert (await client.http.get("/wanted?capacity=8")).status_code == 401
    assert (await client.http.get("/jobs", headers={"Authorization": f"Bearer {VIEWER}"})).status_code == 303
    for _ in range(10):
        assert (await ask("guess")).status_code == 401
    assert (await ask(VIEWER)).status_code == 401, "guessing is slowed down"


def test_the_brake_forgets_and_is_bounded() -> None:
    throttle = LoginThrottle(limit=2, window=10, addresses=3)
    for at in (0.0, 1.0):
        throttle.failed("a", at)
    assert throttle.wait("a", 2.0) == pytest.approx(8.0)
    assert throttle.wait("a", 11.5) == 0
    for address in "bcd":
        throttle.failed(address, 2.0)
    assert throttle.wait("a", 2.0) == 0


@pytest.mark.looks
async def test_answers_carry_the_headers_that_protect_them(client: Client) -> None:
    await client.sign_in(VIEWER)
    for path in ("/", "/jobs", "/login"):
        answer = await client.http.get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert not re.search(r"<script(?! src)|\sstyle=|\son[a-z]+=|javascript:", answer.text)


async def test_a_way_back_leads_nowhere_else(client: Client) -> None:
    token = await client.sign_in(OPERATOR)
    for back in ("//evil.example/", "https://evil.example/", "/pgbaton/\\evil", "/pgbaton\r\nX: y", "/other"):
        answer = await client.post("/act", {**PAUSE, "csrf": token, "back": back})
        assert answer.headers["location"].startswith("/pgbaton/?said=")


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"action": "drop"},
        {"action": "pause"},
        {"action": "retry", "scope": "matching"},
        {"action": "pause", "scope": "stage"},
    ],
)
@pytest.mark.looks
async def test_a_form_that_no_page_of_ours_has_is_refused(client: Client, form: dict[str, str]) -> None:
    token = await client.sign_in(OPERATOR)
    assert (await client.post("/act", {**form, "csrf": token})).status_code in (409, 422)


@pytest.mark.looks
async def test_another_origin_cannot_act_through_a_signed_in_browser(
    person: Any, base: str, db: asyncpg.Connection
) -> None:
    evil = FastAPI()

    @evil.get("/")
    async def lure() -> Any:
        from starlette.responses import HTMLResponse

        return HTMLResponse(
            f"<form method=post action='{base}/act'><input name=action value=pause><input name=scope value=pipeline>"
            "</form><script>document.forms[0].submit()</script>"
        )

    page = await person("operator")
    async with serving(evil) as address:
        context = page.context
        other = await context.new_page()
        async with other.expect_response("**/act") as response:
            await other.goto(address, wait_until="commit")
        assert (await response.value).status in (401, 403)
        await other.close()
    assert not await paused(db)


@pytest.mark.looks
async def test_twenty_pages_share_one_answer_and_a_stream_ends_when_told(client: Client, base: str) -> None:
    await client.sign_in(VIEWER)
    answers = await asyncio.gather(*(client.http.get("/") for _ in range(20)))
    assert {a.status_code for a in answers} == {200}
    async with client.http.stream("GET", "/live") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        async for line in stream.aiter_lines():
            if line == "event: changed":
                break


async def test_the_host_application_says_who_is_asking(dsn: str, db: asyncpg.Connection) -> None:
    async def who(x_user: str | None = Header(None)) -> Identity:
        if x_user is None:
            raise HTTPException(401, "who?")
        return Identity(x_user, Role.OPERATOR if x_user == "mina" else Role.VIEWER)

    app = FastAPI()
    app.include_router(dashboard(Settings(database_url=SecretStr(dsn)), access=who), prefix="/pgbaton")
    async with serving(app) as address:
        client = Client(f"{address}/pgbaton")
        assert (await client.http.get("/")).status_code == 401
        client.http.headers["x-user"] = "jun"
        assert (await client.http.get("/stages")).status_code == 200
        assert (await client.http.get("/login")).status_code == 404
        client.http.headers["x-user"] = "mina"
        token = await client.form_token()
        assert (await client.post("/act", {**PAUSE})).status_code == 403
        assert (await client.post("/act", {**PAUSE, "csrf": token})).status_code == 303
        client.http.headers["x-user"] = "jun"
        assert (await client.post("/act", {**PAUSE, "csrf": token})).status_code == 403
        await client.http.aclose()
    assert await db.fetchval("SELECT who FROM pgbaton.audit") == "mina"


async def test_behind_a_proxy_every_address_has_its_path(dsn: str) -> None:
    app = FastAPI()
    app.include_router(dashboard(Settings(database_url=SecretStr(dsn)), token=OPERATOR), prefix="/pgbaton")
    async with serving(app, "/ops") as address, httpx.AsyncClient(base_url=address) as client:
        answer = await client.get("/pgbaton/jobs?state=dead")
        assert answer.headers["location"] == "/ops/pgbaton/login?back=%2Fops%2Fpgbaton%2Fjobs%3Fstate%3Ddead"
        said = (await client.get("/pgbaton/login")).text
        assert set(re.findall(r'(?:href|src|action)="(/[^/]*/[^/]*/)', said)) == {"/ops/pgbaton/"}
        origin = {"Origin": address}
        answer = await client.post("/pgbaton/login", data={"token": OPERATOR}, headers=origin)
        assert "Path=/ops/pgbaton/" in answer.headers["set-cookie"]


def test_nothing_is_public_by_default() -> None:
    settings = Settings(database_url=SecretStr("postgresql://127.0.0.1/x"))
    with pytest.raises(ConfigError, match="not public"):
        dashboard(settings)
    with pytest.raises(ConfigError, match="too short"):
        dashboard(settings, token="short")
    with pytest.raises(ConfigError, match="differ"):
        dashboard(settings, token=OPERATOR, viewer_token=OPERATOR)
    with pytest.raises(ConfigError, match="not both"):
        dashboard(settings, token=OPERATOR, access=lambda: None)


@pytest.mark.looks
async def test_a_missing_page_or_a_fault_is_said_on_a_page(
    client: Client, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await client.http.get("/nothing/here")
    assert (answer.status_code, "There is no page at this address" in answer.text) == (404, True)
    await client.sign_in(VIEWER)
    for way, path, status, said in (
        ("GET", "/nothing", 404, "There is no page at this address"),
        ("GET", "/record?id=99", 404, "There is no such act"),
        ("GET", "/act", 405, "cannot be asked for in that way"),
        ("DELETE", "/jobs", 405, "cannot be asked for in that way"),
        ("GET", "/jobs?tenant=a&nonsense=1", 422, "(nonsense)"),
        ("GET", "/audit?action=drop", 422, "(action)"),
        ("GET", "/trends?span=century", 422, "(span)"),
    ):
        answer = await client.http.request(way, path, headers={"Origin": client.origin})
        assert (answer.status_code, said in answer.text, "</html>" in answer.text) == (status, True, True), path
    assert "<h1>404</h1>" in (await client.http.get(f"{client.origin}/elsewhere")).text

    async def broken(_view: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(pages.insights, "audit", broken)
    answer = await client.http.get("/audit")
    assert (answer.status_code, "</html>" in answer.text, "secret" in answer.text) == (500, True, False)
