"""The way in and out over a real socket: what is taken, what is refused at once, and what a client gets."""

from __future__ import annotations

import asyncio
import io
import json
import re
import select
import socket
import time
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from app_process import App, Jobs, photo, png_that_claims, serving
from PIL import Image

COPY = "봄을 선물하세요\n50% 할인 ₩12,900"


@pytest.fixture(scope="module")
def app(app_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with serving(tmp_path_factory.mktemp("app"), app_database, PGBATON_POLL=0.1) as running:
        yield running


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app.base_url, timeout=30) as made:
        yield made


def submit(client: httpx.Client, file: bytes | None = None, headers: dict[str, str] | None = None, **texts: Any) -> Any:
    files = {"photo": ("../../evil.jpg", photo("coffee") if file is None else file, "text/html")}
    return client.post("/ads", data={"tenant": "acme", **texts}, files=files, headers=headers)


def until(client: httpx.Client, job: str, *states: str, seconds: float = 60) -> Any:
    """The ad, once it is in one of ``states``."""
    end = time.monotonic() + seconds
    while (ad := client.get(f"/ads/{job}").json())["state"] not in states:
        assert time.monotonic() < end, ad
        time.sleep(0.1)
    return ad


@pytest.fixture(scope="module")
def finished(client: httpx.Client) -> Any:
    """An ad in two formats, by way of the door."""
    answer = submit(client, copy=COPY, formats="square,story")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/ads/{answer.json()['job_id']}"
    return until(client, answer.json()["job_id"], "finished")


def test_a_photo_and_a_copy_become_an_ad_in_every_format_that_was_asked_for(
    client: httpx.Client, finished: Any
) -> None:
    assert finished["tenant_id"] == "acme"
    assert finished["copy"]["headline"] == "봄을 선물하세요"
    assert "₩12,900" in finished["copy"]["offer"]
    assert finished["language"] == "ko"
    assert {picture["format"] for picture in finished["pictures"]} == {"square", "story"}
    for picture in finished["pictures"]:
        got = client.get(picture["url"])
        assert got.headers["content-type"] == "image/jpeg"
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in got.headers["content-security-policy"]
        width, height = Image.open(io.BytesIO(got.content)).size
        assert width / height == pytest.approx({"square": 1, "story": 9 / 16}[picture["format"]], rel=0.01)
    assert client.get(finished["photo"]).content == photo("coffee")


def test_all_formats_can_be_taken_away_at_once_and_each_as_a_file(client: httpx.Client, finished: Any) -> None:
    packed = client.get(finished["download"])
    assert packed.headers["content-disposition"] == f'attachment; filename="ad-{finished["job_id"]}.zip"'
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert sorted(names) == [f"ad-{finished['job_id']}-{name}.jpg" for name in ("square", "story")]
        chosen = next(p for p in finished["pictures"] if p["format"] == "square" and p["place"] == 0)
        assert archive.read(names[0]) == client.get(chosen["url"]).content
    saved = client.get(f"{chosen['url']}?save=1")
    assert re.fullmatch(r'attachment; filename="ad-[\w-]+-square\.jpg"', saved.headers["content-disposition"])


def test_the_page_of_an_ad_says_what_its_json_says_in_the_readers_language(client: httpx.Client, finished: Any) -> None:
    for accepted, words in (("ko", "추천"), ("en", "suggested")):
        page = client.get(f"/ads/{finished['job_id']}", headers={"accept": "text/html", "accept-language": accepted})
        assert page.headers["content-type"].startswith("text/html")
        assert words in page.text
        assert "봄을 선물하세요" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert f'lang="{accepted}"' in page.text


def test_roles_go_before_rules_and_markup_stays_text(client: httpx.Client) -> None:
    answer = submit(client, headline="<b>Reach</b> & more", offer="20% OFF", cta="Go", formats="square")
    assert answer.status_code == 202, answer.text
    job = answer.json()["job_id"]
    assert answer.json()["copy"] == {"headline": "<b>Reach</b> & more", "offer": "20% OFF", "cta": "Go"}
    page = client.get(f"/ads/{job}", headers={"accept": "text/html"}).text
    assert "<b>Reach" not in page
    assert "&lt;b&gt;Reach&lt;/b&gt; &amp; more" in page


KO, EN = "커피 한 잔의 여유", "Slow mornings"
NOTHING = b""
REFUSED: dict[str, tuple[dict[str, Any], bytes | None, str]] = {
    "no photo": ({"copy": KO}, NOTHING, "사진이"),
    "no photo, in English": ({"copy": EN}, NOTHING, "photo"),
    "not a photo": ({"copy": EN}, b"<html>404</html>", "not a photo"),
    "a truncated photo": ({"copy": EN}, photo("rocket")[:20_000], "damaged or cut short"),
    "an enormous photo": ({"copy": EN}, png_that_claims(9_000, 9_000), "enormous"),
    "a bomb": ({"copy": EN}, png_that_claims(2**31 - 1, 2**31 - 1), "enormous"),
    "no copy": ({"copy": "", "language": "en"}, None, "The copy is empty"),
    "no copy, in Korean": ({"copy": "", "language": "ko"}, None, "카피가 비어 있습니다"),
    "emoji only": ({"copy": "🌸🌸🌸", "language": "ko"}, None, "글자"),
    "right to left": ({"copy": "ابدأ يومك"}, None, "right to left"),
    "2,000 characters": ({"copy": "가나다 " * 500}, None, "카피가 너무 깁니다"),
    "a copy that fits nowhere": ({"copy": EN, "headline": "Slow"}, None, "not both"),
    "an unknown format": ({"copy": EN, "formats": "poster"}, None, "poster"),
    "no tenant": ({"copy": EN, "tenant": ""}, None, "tenant"),
    "a tenant that is none": ({"copy": EN, "tenant": "a\nb"}, None, "tenant"),
    "a tenant of 300 letters": ({"copy": KO, "tenant": "a" * 300}, None, "테넌트"),
}


UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("name", REFUSED)
async def test_an_order_that_cannot_be_used_is_refused_at_once_in_a_sentence_of_the_clients_language(
    client: httpx.Client, jobs: Jobs, name: str
) -> None:
    texts, file, says = REFUSED[name]
    before = await jobs.db.fetchval("SELECT count(*) FROM jobs")
    answer = await asyncio.to_thread(submit, client, file, **texts)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
    assert says in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]
    assert await jobs.db.fetchval("SELECT count(*) FROM jobs") == before


def test_a_photo_of_a_few_pixels_is_refused(client: httpx.Client) -> None:
    tiny = io.BytesIO()
    Image.new("RGB", (60, 60), "red").save(tiny, "PNG")
    answer = submit(client, tiny.getvalue(), copy=KO)
    assert answer.status_code == 422
    assert "작" in answer.json()["detail"]


def test_a_form_without_a_photo_part_or_of_another_kind_is_refused(client: httpx.Client) -> None:
    for sent in (
        {"data": {"tenant": "acme", "copy": EN}},
        {"json": {"tenant": "acme", "copy": EN}},
        {"content": b"nonsense", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"--x", "headers": {"content-type": "multipart/form-data"}},
        {"content": b""},
        {"data": {f"field{n}": "x" for n in range(60)}, "files": {"photo": b"x"}},
        {"data": {"copy": "x" * 100_000}, "files": {"photo": b"x"}},
        {"files": [("photo", b"x"), ("photo", b"y")]},
    ):
        answer = client.post("/ads", **sent)  # type: ignore[arg-type]
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text


def test_a_body_without_end_is_refused_before_it_has_come(app: App) -> None:
    address = urlsplit(app.base_url)
    for head in (b"Content-Length: 5000000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        with socket.create_connection((address.hostname, address.port), 60) as line:  # type: ignore[arg-type]
            line.sendall(b"POST /ads HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n" + head)
            part = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
            block, sent = b" " * 2**20, 0
            try:
                line.sendall(b"%x\r\n%s\r\n" % (len(part), part) if b"chunked" in head else part)
                while sent < 60 * 2**20 and not select.select([line], [], [], 0)[0]:
                    line.sendall(b"%x\r\n%s\r\n" % (len(block), block) if b"chunked" in head else block)
                    sent += len(block)
                answer = line.recv(10_000)
            except (BrokenPipeError, ConnectionResetError):
                answer = b"HTTP/1.1 413 "  # it was said and the line closed while we were still sending
        assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]
        assert sent < 40 * 2**20


def test_an_upload_that_breaks_off_leaves_nothing_and_harms_nobody(app: App, client: httpx.Client) -> None:
    address = urlsplit(app.base_url)
    with socket.create_connection((address.hostname, address.port), 10) as line:  # type: ignore[arg-type]
        line.sendall(
            b"POST /ads HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 1000000\r\n\r\n"
            b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nhalf'
        )
    assert client.get("/healthz").status_code == 200
    assert "Traceback" not in app.log


async def test_an_order_that_is_sent_again_with_its_key_is_one_order(client: httpx.Client, jobs: Jobs) -> None:
    headers = {"idempotency-key": str(uuid4())}
    answers = await asyncio.gather(
        *(asyncio.to_thread(submit, client, None, headers, copy=EN, formats="square") for _ in range(4))
    )
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    other = await asyncio.to_thread(submit, client, None, headers, copy=EN, tenant="globex", formats="square")
    assert other.json()["job_id"] != answers[0].json()["job_id"]
    job = answers[0].json()["job_id"]
    assert await jobs.db.fetchval("SELECT count(*) FROM ad_inputs WHERE job_id = $1", job) == 1


def test_a_copy_is_read_without_an_ad(client: httpx.Client) -> None:
    read = client.post("/ads/copy", data={"copy": COPY}).json()
    assert read == {
        "copy": {"headline": "봄을 선물하세요", "offer": "50% 할인 · ₩12,900"},
        "sure": True,
        "doubts": [],
    }
    refused = client.post("/ads/copy", data={"copy": "가" * 300})
    assert refused.status_code == 422
    assert "카피가 너무 깁니다" in refused.json()["detail"]


async def test_an_order_is_handed_over_only_with_all_that_it_needs(client: httpx.Client, jobs: Jobs) -> None:
    answer = await asyncio.to_thread(submit, client, None, None, copy=COPY, formats=["story", "square"])
    job = answer.json()["job_id"]
    row = await jobs.db.fetchrow("SELECT photo, copy_fields, copy_ko, formats FROM ad_inputs WHERE job_id = $1", job)
    assert row["photo"] == photo("coffee")
    assert json.loads(row["copy_fields"]) == answer.json()["copy"]
    assert row["copy_ko"] == COPY
    assert row["formats"] == ["story", "square"]


def decision(client: httpx.Client, job: str, **said: Any) -> httpx.Response:
    return client.post(f"/ads/{job}/decision", json=said)


def test_a_finished_ad_is_rejected_with_a_reason_or_approved_and_the_last_word_counts(
    client: httpx.Client, finished: Any
) -> None:
    job = finished["job_id"]
    assert decision(client, job, approved=False).status_code == 422
    assert decision(client, job, approved=False, reason=" \n ").status_code == 422
    assert decision(client, job, approved=False, reason="x" * 1001).status_code == 422
    assert decision(client, job, approved=True, chosen={"story": 99}).status_code == 422
    assert decision(client, job, approved=True, chosen={"poster": 0}).status_code == 422
    assert decision(client, job, approved="yes").status_code == 422
    assert decision(client, job, approved=True, by="me").status_code == 422
    assert client.get(f"/ads/{job}").json()["decision"] is None
    rejected = decision(client, job, approved=False, reason="로고가\n작아요")
    assert (rejected.status_code, rejected.json()["state"]) == (200, "rejected")
    assert rejected.json()["decision"]["reason"] == "로고가 작아요"
    last = max(p["place"] for p in finished["pictures"] if p["format"] == "story")
    form = {"verdict": "approve", "reason": "", "chosen.story": str(last)}
    approved = client.post(f"/ads/{job}/decision", data=form, headers={"accept": "text/html"})
    assert (approved.status_code, approved.headers["location"]) == (303, f"/ads/{job}")
    ad = client.get(f"/ads/{job}").json()
    assert (ad["state"], ad["decision"]["chosen"]) == ("approved", {"story": last})
    with zipfile.ZipFile(io.BytesIO(client.get(ad["download"]).content)) as archive:
        story = archive.read(f"ad-{job}-story.jpg")
    assert story == client.get(f"/ads/{job}/pictures/story/{last}").content


async def test_an_ad_that_is_not_finished_cannot_be_decided_on(client: httpx.Client, jobs: Jobs) -> None:
    job = await jobs.add(photo("rocket"), EN, at=("img_gen", "running"))
    answer = await asyncio.to_thread(decision, client, job, approved=True)
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert (await asyncio.to_thread(client.get, f"/ads/{job}/download")).status_code == 409


async def test_why_an_ad_was_not_made_is_told_on_its_page_and_in_its_json(client: httpx.Client, jobs: Jobs) -> None:
    job = await jobs.add(photo("rocket")[:20_000], KO)
    ad = await asyncio.to_thread(until, client, job, "failed")
    assert ad["sentence"]
    page = (await asyncio.to_thread(client.get, f"/ads/{job}", headers={"accept": "text/html"})).text
    assert ad["sentence"] in page


@pytest.mark.parametrize(
    "path",
    [
        "/ads/../../../../etc/passwd",
        "/ads/..%2f..%2f..%2fetc%2fpasswd",
        "/ads/static/x/..%2f..%2froutes.py",
        "/ads/static/x/%2e%2e%2froutes.py",
        "/ads/static/x/ads.py",
        "/ads/not-a-uuid",
        "/ads/not-a-uuid/photo",
        f"/ads/{UNKNOWN}",
        f"/ads/{UNKNOWN}/photo",
        f"/ads/{UNKNOWN}/download",
        f"/ads/{UNKNOWN}/pictures/square/0",
    ],
)
def test_paths_that_lead_nowhere_lead_nowhere(app: App, client: httpx.Client, path: str) -> None:
    raw = httpx.Request("GET", app.base_url)
    raw.url = httpx.URL(app.base_url).copy_with(raw_path=path.encode())
    answer = client.send(raw)
    assert answer.status_code == 404, answer.text
    assert "root:" not in answer.text


def test_pictures_that_an_ad_does_not_have_are_not_there(client: httpx.Client, finished: Any) -> None:
    for wrong in ("square/99", "square/-1", "square/x", "poster/0", "..%2f..%2fx/0", "square/0%00"):
        assert client.get(f"/ads/{finished['job_id']}/pictures/{wrong}").status_code == 404


FORGED = [
    {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    {"sec-fetch-site": "same-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
]


@pytest.mark.parametrize("headers", FORGED)
async def test_another_sites_page_cannot_order_decide_or_rebrand(
    client: httpx.Client, jobs: Jobs, finished: Any, headers: dict[str, str]
) -> None:
    counts = "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM ad_decisions), (SELECT count(*) FROM ad_brands)"
    before = await jobs.db.fetchrow(counts)
    ordered = await asyncio.to_thread(submit, client, None, headers, copy=EN)
    path = f"/ads/{finished['job_id']}/decision"
    decided = await asyncio.to_thread(client.post, path, json={"approved": True}, headers=headers)
    branded = await asyncio.to_thread(
        client.post, "/ads/brand", data={"tenant": "acme"}, files={"logo": b""}, headers=headers
    )
    assert {ordered.status_code, decided.status_code, branded.status_code} == {403}
    assert await jobs.db.fetchrow(counts) == before


def test_a_brand_kit_is_checked_kept_and_used(client: httpx.Client) -> None:
    logo = io.BytesIO()
    Image.new("RGBA", (400, 100), (200, 30, 30, 255)).save(logo, "PNG")
    good = {"tenant": "brandy", "name": "한옥커피", "colour": "#1a2b3c", "accent": "#e8472b"}
    for texts, files, says in (
        ({"colour": "blue"}, {}, "#1a2b3c"),
        ({}, {"logo": ("l.png", b"no logo")}, "PNG"),
        ({}, {"font": ("f.otf", b"no font")}, "OTF"),
        ({"name": "x" * 33}, {}, "32"),
    ):
        answer = client.post("/ads/brand", data=good | texts, files=files or {"logo": ("", b"")})
        assert answer.status_code == 422
        assert says in answer.json()["detail"]
    assert client.get("/ads/brand?tenant=brandy").json()["name"] is None
    saved = client.post("/ads/brand", data=good, files={"logo": ("l.png", logo.getvalue())})
    kept = {"name": "한옥커피", "colour": "#1a2b3c", "accent": "#e8472b", "logo": True, "font": False}
    assert saved.json() == kept
    assert client.get("/ads/brand?tenant=brandy").json() == kept
    client.post("/ads/brand", data=good | {"remove_logo": "1"}, files={"logo": ("", b"")})
    assert client.get("/ads/brand?tenant=brandy").json()["logo"] is False
    assert client.get("/ads/brand?tenant=acme").json()["name"] is None


def test_nothing_of_all_this_was_a_fault_of_the_program(app: App, client: httpx.Client, finished: Any) -> None:
    assert "Traceback" not in app.log
    assert client.get("/readyz").status_code == 200
