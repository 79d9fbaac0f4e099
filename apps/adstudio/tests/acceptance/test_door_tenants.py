"""Tenants with tokens: what is one's is nobody else's, as a row, a file, a page and an address."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from app_process import App, Jobs, photo, serving

TOKENS = {"acme": "acme-token-0123456789", "globex": "globex-token-0123456789"}
PAGE = {"accept": "text/html", "accept-language": "en"}


@dataclass
class Tenant:
    """A program of a tenant's, and an ad of its own that is finished."""

    client: httpx.Client
    ad: Any


@pytest.fixture(scope="module")
def app(app_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    tokens = ",".join(f"{tenant}={token}" for tenant, token in TOKENS.items())
    folder = tmp_path_factory.mktemp("app")
    with serving(folder, app_database, ADS_TOKENS=tokens, PGBATON_POLL=0.1, ADSTUDIO_ASSETS="assets") as running:
        yield running


def order(client: httpx.Client, **texts: str) -> httpx.Response:
    """The same photo and copy whoever orders it: only the tenant differs."""
    data = {"copy": "Slow mornings", "formats": "square"} | texts
    return client.post("/ads", data=data, files={"photo": photo("coffee")})


@pytest.fixture(scope="module")
def tenants(app: App) -> Iterator[dict[str, Tenant]]:
    made = {}
    for name, token in TOKENS.items():
        client = httpx.Client(base_url=app.base_url, timeout=30, headers={"authorization": f"Bearer {token}"})
        job = order(client).json()["job_id"]
        end = time.monotonic() + 60
        while (ad := client.get(f"/ads/{job}").json())["state"] != "finished":
            assert time.monotonic() < end, ad
            time.sleep(0.1)
        made[name] = Tenant(client, ad)
    yield made
    for one in made.values():
        one.client.close()


@pytest.fixture
def acme(tenants: dict[str, Tenant]) -> Tenant:
    return tenants["acme"]


@pytest.fixture
def globex(tenants: dict[str, Tenant]) -> Tenant:
    return tenants["globex"]


def addresses(ad: Any) -> list[str]:
    return [f"/ads/{ad['job_id']}", ad["photo"], ad["download"], *(p["url"] for p in ad["pictures"])]


def test_every_address_of_an_ad_answers_its_tenant_and_is_unknown_to_another(acme: Tenant, globex: Tenant) -> None:
    for path in addresses(acme.ad):
        assert acme.client.get(path).status_code == 200
        foreign, unknown = (
            globex.client.get(path),
            globex.client.get(path.replace(acme.ad["job_id"], "0" * 8 + "-0000" * 3 + "-" + "0" * 12)),
        )
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json()["detail"] == unknown.json()["detail"]


def test_the_pages_of_another_tenants_ad_do_not_show_it(acme: Tenant, globex: Tenant) -> None:
    page = globex.client.get(f"/ads/{acme.ad['job_id']}", headers=PAGE)
    assert page.status_code == 404
    assert "Slow mornings" not in page.text


async def test_another_tenants_ad_cannot_be_decided_on(acme: Tenant, globex: Tenant, jobs: Jobs) -> None:
    answer = globex.client.post(f"/ads/{acme.ad['job_id']}/decision", json={"approved": True})
    assert answer.status_code == 404
    assert await jobs.db.fetchval("SELECT count(*) FROM ad_decisions WHERE job_id = $1", acme.ad["job_id"]) == 0


def test_a_list_holds_ones_own_ads_only(acme: Tenant, globex: Tenant) -> None:
    for one, other in ((acme, globex), (globex, acme)):
        for query in ("", f"?tenant={other.ad['tenant_id']}"):
            listed = {ad["job_id"] for ad in one.client.get(f"/ads{query}").json()["ads"]}
            assert one.ad["job_id"] in listed
            assert other.ad["job_id"] not in listed


def test_a_token_orders_and_brands_for_its_own_tenant_only(acme: Tenant) -> None:
    assert order(acme.client, tenant="globex").status_code == 403
    branded = acme.client.post("/ads/brand", data={"tenant": "globex", "name": "Ours"}, files={"logo": ("", b"")})
    assert branded.status_code == 403
    assert acme.client.get("/ads/brand?tenant=globex").json()["name"] is None


def test_without_a_token_nothing_is_told(app: App, acme: Tenant) -> None:
    with httpx.Client(base_url=app.base_url) as nobody:
        for path in ("/ads", "/ads?tenant=acme", "/ads/brand?tenant=acme", *addresses(acme.ad)):
            answer = nobody.get(path, headers={"x-tenant-id": "acme"})
            assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert order(nobody, tenant="acme").status_code == 401
        assert nobody.post(f"/ads/{acme.ad['job_id']}/decision", json={"approved": True}).status_code == 401


async def test_the_same_photo_of_two_tenants_is_two_files_and_no_row_names_anothers(
    tenants: dict[str, Tenant], app: App, jobs: Jobs
) -> None:
    rows = await jobs.db.fetch(
        """SELECT tenant_id, photo_key AS key, photo AS data FROM ad_inputs
           UNION ALL SELECT tenant_id, image_key, image FROM ad_pictures
           UNION ALL SELECT tenant_id, image_key, image FROM ad_overlays"""
    )
    folders: dict[str, set[str]] = {}
    for row in rows:
        assert row["data"] is None
        folders.setdefault(row["tenant_id"], set()).add(row["key"].partition("/")[0])
        assert (app.log_file.parent / "assets" / row["key"]).is_file()
    assert {len(found) for found in folders.values()} == {1}
    assert not folders["acme"] & folders["globex"]


async def test_a_row_that_was_made_to_name_anothers_file_shows_nothing(
    acme: Tenant, globex: Tenant, jobs: Jobs
) -> None:
    mine = await jobs.db.fetchval("SELECT photo_key FROM ad_inputs WHERE job_id = $1", acme.ad["job_id"])
    theirs = await jobs.db.fetchval("SELECT photo_key FROM ad_inputs WHERE job_id = $1", globex.ad["job_id"])
    put = "UPDATE ad_inputs SET photo_key = $2 WHERE job_id = $1"
    for wrong in (theirs, "../../../../etc/passwd", "/etc/passwd"):
        await jobs.db.execute(put, acme.ad["job_id"], wrong)
        assert acme.client.get(acme.ad["photo"]).status_code == 503
    await jobs.db.execute(put, acme.ad["job_id"], mine)
    assert acme.client.get(acme.ad["photo"]).status_code == 200


@contextmanager
def signed_in(app: App, tenant: str) -> Iterator[httpx.Client]:
    """A browser with a session."""
    with httpx.Client(base_url=app.base_url, headers=PAGE | {"sec-fetch-site": "same-origin"}) as browser:
        answer = browser.post("/ads/sign-in", data={"token": TOKENS[tenant], "back": "/ads"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/ads")
        yield browser


def csrf(page: str) -> str:
    return re.findall(r'name="csrf" value="(\w+)"', page)[0]


def test_a_person_is_sent_to_sign_in_and_comes_back(app: App, acme: Tenant) -> None:
    with httpx.Client(base_url=app.base_url, headers=PAGE) as browser:
        answer = browser.get(f"/ads/{acme.ad['job_id']}")
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/ads/sign-in?back=%2Fads%2F{acme.ad['job_id']}"
        assert browser.post("/ads/sign-in", data={"token": "a wrong token"}).status_code == 401
    with signed_in(app, "acme") as browser:
        cookie = browser.cookies.jar.__iter__().__next__()
        assert (cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == ("/ads", True)
        assert "Slow mornings" in browser.get(f"/ads/{acme.ad['job_id']}").text


@pytest.mark.parametrize(
    "back", ["https://evil.example", "//evil.example", "/ads//evil.example", "/ads\\evil", "/admin"]
)
def test_signing_in_leads_to_no_other_place(app: App, back: str) -> None:
    with httpx.Client(base_url=app.base_url, headers=PAGE) as browser:
        answer = browser.post("/ads/sign-in", data={"token": TOKENS["acme"], "back": back})
        assert (answer.status_code, answer.headers["location"]) == (303, "/ads")


async def test_a_session_changes_nothing_without_its_forms_own_token(
    app: App, acme: Tenant, globex: Tenant, jobs: Jobs
) -> None:
    path = f"/ads/{acme.ad['job_id']}"
    with signed_in(app, "acme") as browser, signed_in(app, "globex") as another:
        token = csrf(browser.get(path).text)
        said = {"verdict": "approve", "reason": ""}
        for wrong in ("", "x" * 64, csrf(another.get("/ads").text)):
            assert browser.post(f"{path}/decision", data=said | {"csrf": wrong}).status_code == 403
            files = {"photo": photo("coffee")}
            assert browser.post("/ads", data={"copy": "Up", "csrf": wrong}, files=files).status_code == 403
        assert another.post(f"{path}/decision", data=said | {"csrf": token}).status_code == 404
        assert await jobs.db.fetchval("SELECT count(*) FROM ad_decisions") == 0
        assert browser.post(f"{path}/decision", data=said | {"csrf": token}).status_code == 303
        assert acme.client.get(path).json()["state"] == "approved"
        assert browser.post("/ads/sign-out", data={"csrf": token}).status_code == 303
        assert browser.get(path).status_code == 303


def test_guessing_is_slowed_down(app: App) -> None:
    with httpx.Client(base_url=app.base_url, headers=PAGE) as browser:
        answers = [browser.post("/ads/sign-in", data={"token": f"guess {n}"}).status_code for n in range(12)]
    assert answers[-1] == 429
    assert TOKENS["acme"] not in app.log
