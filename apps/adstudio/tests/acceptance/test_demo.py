"""`adstudio demo` as a stranger runs it: six ads, a page to look at, and nothing left behind."""

from __future__ import annotations

import asyncio
import io
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import asyncpg
import pytest
from app_process import STEPS, photo, processes, start, walkable_folder
from PIL import Image
from rich.cells import cell_len

from adstudio import cli, demo_ads
from adstudio.vision.formats import DEFAULT

SHIPPED = {name: formats for name, _, _, formats in demo_ads.SHIPPED}


class Page(HTMLParser):
    """The pictures and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.words = ""
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.pictures += [value or "" for name, value in attrs if name == "src"]

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder to run in, and its user's home; what is temporary goes below it, and must be gone in the end."""
    with walkable_folder() as folder:
        temporary, home = folder / "tmp", folder / "home"
        temporary.mkdir(mode=0o711)
        home.mkdir()
        yield folder
        assert [*temporary.iterdir(), *home.iterdir()] == []  # ONNX Runtime would write down whom it tells about
        assert processes(str(folder)) == []


def demo(folder: Path, *arguments: str | Path, **variables: object) -> subprocess.Popen[str]:
    variables |= {"TMPDIR": folder / "tmp", "HOME": folder / "home", "XDG_CACHE_HOME": "", "COLUMNS": 80}
    return start("adstudio", "demo", *arguments, folder=folder, **variables)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, error = process.communicate(timeout=200)
    return process.returncode, out, error


def check_page(folder: Path, ads: dict[str, tuple[str, ...]]) -> Page:
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    pictures = [source for source in page.pictures if not source.startswith("data:")]
    expected = [f"{name}-{kind}" for name, formats in ads.items() for kind in ("photo", *formats)]
    assert [source.split(".")[0] for source in pictures] == expected
    for source in pictures:
        with Image.open(folder / source) as picture:
            assert picture.width >= 450
    assert "@font-face" in page.words  # its letters come with it
    return page


def test_six_ads_and_a_page_come_of_it_and_nothing_is_left(folder: Path) -> None:
    code, out, error = ended(demo(folder, "--variants", "1", PYTHONIOENCODING="ascii"))
    assert (code, error) == (0, ""), out + error
    check_page(folder / "out", SHIPPED)
    for name in SHIPPED:
        assert re.search(rf"(?m)^{name} +(\d+\.\d\d +){{{len(STEPS)}}}passed *$", out), out
    assert "6 of 6 ads made in " in out
    assert " variants, " not in out
    assert "astronaut waited for a person" in out
    assert (folder / "out" / "index.html").as_uri() in out
    assert all(cell_len(line) <= 80 for line in out.splitlines() if "file://" not in line)
    assert "?" in out.splitlines()[0]  # the terminal knows no dots in a row
    log = (folder / "out" / "demo.log").read_text(encoding="utf-8")
    assert log.count("파이프라인 단계 트리거 event=stage_triggered") >= 6 * len(STEPS)
    assert "Traceback" not in log


async def test_variants_of_the_users_own_photo_in_a_database_of_the_users_own(
    folder: Path, empty_database: str
) -> None:
    own = folder / "우리 로켓 — 「한」.webp"
    picture = Image.open(io.BytesIO(photo("rocket"))).resize((500, 333))
    await asyncio.to_thread(picture.save, own)
    copy = "<b>한 걸음</b> 더"
    making = demo(folder, "--photo", own, "--copy", copy, "--out", folder / "ads", DATABASE_URL=empty_database)
    code, out, error = await asyncio.to_thread(ended, making)
    assert (code, error) == (0, ""), out + error
    page = check_page(folder / "ads", {"우리-로켓-한": DEFAULT})
    assert re.search(r"(?m)^\S+ +(\d+\.\d\d +){3}– +\d+\.\d\d +passed *$", out), out  # the variants have overlays
    assert "3 variants, " in out
    log = (folder / "ads" / "demo.log").read_text(encoding="utf-8")
    # Of the ad all but overlay, of a variant three; more where one was rejected.
    assert log.count("파이프라인 단계 트리거 event=stage_triggered") >= len(STEPS) - 1 + 3 * 3
    assert copy in page.words
    assert page.tags.count("b") == 1  # the verdict's; the copy's is none
    assert all(cell_len(line) <= 80 for line in out.splitlines() if "file://" not in line)
    assert not (folder / "out").exists()
    db = await asyncpg.connect(empty_database)
    rows = await db.fetch("SELECT tenant_id, current_step, status FROM jobs")
    assert [tuple(row) for row in rows] == [("demo", "vlm_judge", "done")]
    assert await db.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = 'adstudio'") == 0  # roles are the cluster's
    await db.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])  # Ctrl-C, and the terminal's end
def test_broken_off_it_leaves_nothing(folder: Path, number: int) -> None:
    (folder / "rocket").write_bytes(
        photo("rocket")
    )  # one small photo: the demo is broken off while it makes the first ad
    making = demo(folder, "--photo", folder / "rocket", "--copy", "Reach for more", "--variants", "1")
    log, end = folder / "out" / "demo.log", time.monotonic() + 30
    while not log.exists() or "event=stage_triggered" not in log.read_text(encoding="utf-8"):
        assert making.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    making.send_signal(number)
    code, out, error = ended(making)
    assert (code, error) == (130, "")
    assert out.splitlines()[-1].strip() == "interrupted"
    assert not (folder / "out" / "index.html").exists()


@pytest.mark.parametrize(
    ("file", "copy", "says"),
    [
        (None, "Hello", r"--photo: .*photo: no such file or directory"),
        (photo("rocket")[:9000], "Hello", r"--photo: .*photo: The photo is damaged or cut short: .*"),
        (photo("rocket"), " ", r"--copy: The copy is empty\."),
        (photo("rocket"), "שלום", r"--copy: The copy has Hebrew letters, which run right to left; .*"),
    ],
    ids=["missing", "short", "blank", "hebrew"],
)
def test_a_photo_or_copy_of_no_use_is_refused_at_once(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: bytes | None,
    copy: str,
    says: str,
) -> None:
    """In this process: another would import the application for two seconds to say one sentence."""
    if file is not None:
        (folder / "photo").write_bytes(file)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["adstudio", "demo", "--photo", str(folder / "photo"), "--copy", copy])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    out, error = capsys.readouterr()
    assert (ending.value.code, out) == (1, "")
    assert re.fullmatch(f"adstudio: {says}\n", error)
    assert not (folder / "out").exists()


def test_where_nothing_can_be_written_it_says_so(folder: Path) -> None:
    (folder / "out").write_text("a file")
    code, out, error = ended(demo(folder))
    assert (code, out) == (1, "")
    assert error == "adstudio: --out: nothing can be written to out: File exists\n"


def test_a_photo_without_a_copy_is_wrong_usage(folder: Path) -> None:
    code, _, error = ended(demo(folder, "--photo", "cup.jpg"))
    assert code == 2
    assert "a photo needs a copy" in error
