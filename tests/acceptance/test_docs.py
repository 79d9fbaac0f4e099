"""The documents agree with the code: links lead somewhere, tests that they name exist, defaults are the real ones."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from adstudio.config import AppSettings
from pgbaton import Pipeline, Settings, Stage
from pgbaton.decision.outcome import Answer, Reply, Verb, decide
from pgbaton.decision.verdict import Call, Job, Standing, resolve
from pgbaton.events import Event
from pgbaton.health import WORDS, Finding
from pgbaton.model import Outcome, Row, Statuses
from tools.write_api_page import api_page
from tools.write_findings import PAGES, with_index

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for pattern in ("*.md", "docs/**/*.md") for path in ROOT.glob(pattern))


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", without_code(file.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("korean", [d for d in DOCUMENTS if d.endswith(".ko.md")])
def test_a_korean_page_has_the_parts_of_the_english_one(korean: str) -> None:
    here, there = (without_code(read(document)) for document in (korean, korean.replace(".ko.md", ".md")))
    for part in (r"^## ", r"^\|", r"^!\["):  # a heading, a row of a table, a picture
        assert len(re.findall(part, here, re.MULTILINE)) >= len(re.findall(part, there, re.MULTILINE)), part


ANOTHER_WORD = {
    "스테이지": "단계",
    "메트릭": "지표",
    "장애 조치": "페일오버",
    "일시 정지": "일시정지",
    "클레임": "가져가기",
    "하위 작업": "자식 작업",
    "빠진 호출": "누락된 호출",
    "열람자": "조회 전용",
}


def test_korean_has_one_word_for_each_thing() -> None:
    files = [ROOT / d for d in DOCUMENTS if d.endswith(".ko.md")]
    files += [f for folder in ("src", "apps/adstudio/src") for f in (ROOT / folder).rglob("*.py")]
    texts = {str(f.relative_to(ROOT)): f.read_text(encoding="utf-8") for f in files}
    assert [(name, word) for name, text in texts.items() for word in ANOTHER_WORD if word in text] == []


def table_rows(document: str) -> list[list[str]]:
    """The cells of every table row."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in read(document).splitlines() if "|" in line
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(read(document))):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), f"{document}: {target}"
        assert not anchor or anchor in anchors(file), f"{document}: {target}"


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d.startswith("docs/")])
def test_every_test_that_is_named_exists(document: str) -> None:
    exist = {
        name
        for folder in ("tests", "apps/adstudio/tests")
        for file in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))
    }
    assert set(re.findall(r"`(test_\w+)`", without_code(read(document)))) <= exist


CONFIGURATIONS = ("docs/configuration.md", "docs/configuration.ko.md")
IN_ENGLISH = {"필수": "required", "없음": "none", "기본 낱말": "the plain words", "비어 있음": "empty"}


def is_said(default: object, cell: str) -> bool:
    """Whether a cell such as ``2592000 (30 days)`` gives a field's default."""
    word = cell.split(" (")[0].strip("`").strip('"')
    word = IN_ENGLISH.get(word, word)
    if default is None or default == ():
        return word == "none"
    if isinstance(default, Statuses):
        return default.plain and word == "the plain words"
    if isinstance(default, bool):
        return word == str(default).lower()
    if isinstance(default, int | float):
        return float(word) == default
    return word == (str(default) or "empty")


@pytest.mark.parametrize("document", CONFIGURATIONS)
@pytest.mark.parametrize(("settings", "prefix"), [(Settings, "PGBATON_"), (AppSettings, "")])
def test_every_setting_is_documented_with_its_default(settings: type[BaseModel], prefix: str, document: str) -> None:
    rows = table_rows(document)
    for name, field in settings.model_fields.items():
        variable = f"`{_variable(name, field, prefix)}`"
        said = [row[row.index(variable) + 1] for row in rows if variable in row]
        assert said, variable
        assert all(is_said(field.default, cell) for cell in said), (variable, said)


def _variable(name: str, field: FieldInfo, prefix: str) -> str:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return str(alias or f"{prefix}{name}".upper())


@pytest.mark.parametrize("document", CONFIGURATIONS)
@pytest.mark.parametrize("model", [Pipeline, Stage])
def test_every_key_of_a_pipeline_is_documented_with_its_default(model: type[BaseModel], document: str) -> None:
    rows = [row for row in table_rows(document) if len(row) == (3 if model is Pipeline else 4)]
    for name, field in model.model_fields.items():
        if name in ("stages", "pools", "tiers"):  # tables of their own
            continue
        [said] = [row[1] for row in rows if row[0] == f"`{name}`"]
        needed = IN_ENGLISH.get(said, said) == "required"
        assert needed if field.is_required() else is_said(field.default, said), (name, said)


def test_every_event_is_documented_with_both_its_texts() -> None:
    text = "\n".join(line for line in read("docs/deployment.md").splitlines() if line.startswith("|"))
    for event in Event:
        assert f"`{event.event}`" in text
        for said in event.text.values():
            assert re.split(r"[,(]", said)[0].strip() in text, said


def test_every_event_is_documented_in_korean() -> None:
    text = "\n".join(line for line in read("docs/deployment.ko.md").splitlines() if line.startswith("|"))
    for event in Event:
        assert f"`{event.event}`" in text
        assert re.split(r"[,(]", event.text["ko"])[0].strip() in text


def test_every_outcome_is_documented() -> None:
    assert set(Outcome) <= set(re.findall(r"`(\w+)`", without_code(read("docs/state-machine.md"))))


KOREAN = {
    "다른 곳": "elsewhere",
    "삭제됨": "gone",
    "그대로": "unchanged",
    "무엇이든": "any",
    "시간 초과": "timeout",
    "연결 끊김": "connection broke",
    "읽을 수 없는 응답": "unreadable answer",
    "연결 안 됨": "no connection",
    "리다이렉트": "a redirect",
    "완료": "completed",
    "취소": "cancelled",
    "단계에 맡김": "left to the stage",
    "최종 실패": "dead",
    "재시도 규칙": "retry rules",
    "지금은 안 됨": "not now",
}


def test_the_korean_table_of_answers_is_the_english_one() -> None:
    korean = [
        [", ".join(KOREAN.get(word, word.replace("다른", "other")) for word in cell.split(", ")) for cell in row]
        for row in checked_rows("answers", "docs/state-machine.ko.md")
    ]
    assert korean == checked_rows("answers")


def checked_rows(name: str, document: str = "docs/state-machine.md") -> list[list[str]]:
    """The rows of the table of the state machine that is marked with this name, without its head."""
    [table] = re.findall(rf"<!-- checked: {name} -->\n\n(.*?)\n\n", read(document), re.DOTALL)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


STAGE = Stage(step="stage", after="before", path="/stage", attempts=5)
ROWS = {
    "(stage, done)": Row("t", "stage", "done"),
    "(stage, failed)": Row("t", "stage", "failed"),
    "(stage, running)": Row("t", "stage", "running"),
    "unchanged": Row("t", "before", "done"),
    "entry": Row("t", "before", "done"),
    "elsewhere": Row("t", "another", "done"),
    "gone": None,
}
ANSWERS = {
    "2xx": (200, 201, 202, 204),
    "202": (202,),
    "other 2xx": (200, 201, 204),
    "a redirect": (301, 302, 307),
    "other 3xx": (300, 304),
    "401": (401,),
    "other 4xx": (400, 404, 422),
    "other 5xx": (500, 501),
} | {str(status): (status,) for status in (409, 425, 429, 502, 503, 504)}
UNANSWERED = {
    "no connection": Reply.REFUSED,
    "timeout": Reply.TIMEOUT,
    "connection broke": Reply.LOST,
    "unreadable answer": Reply.GARBLED,
}
VERBS = {
    "completed": {Verb.COMPLETE},
    "cancelled": {Verb.CANCEL},
    "retry rules": {Verb.FAIL},
    "left to the stage": {Verb.WAIT},
    "dead": {Verb.KILL},
    "not now": {Verb.DEFER},
}


def answers(cell: str) -> list[Answer]:
    every = [*ANSWERS, *UNANSWERED] if cell == "any" else cell.split(", ")
    return [
        answer
        for name in every
        for answer in (
            [Answer(UNANSWERED[name])] if name in UNANSWERED else [Answer(Reply.ANSWERED, s) for s in ANSWERS[name]]
        )
    ]


def test_the_table_of_answers_is_the_codes() -> None:
    said: set[tuple[str, Answer]] = set()
    for place, cell, outcome, becomes in checked_rows("answers"):
        for answer in answers(cell):
            said.add((place, answer))
            decision = decide(STAGE, ROWS[place], answer)
            assert (f"`{decision.outcome}`", decision.verb in VERBS[becomes]) == (outcome, True), (place, answer)
    assert said == {(place, answer) for place in ROWS if place != "entry" for answer in answers("any")}


CALLS = {
    "held by a lost worker": Call(7, "stage", "before", 1, 0, Standing.HELD, worker=1, alive=False),
    "left": Call(7, "stage", "before", 1, 0, Standing.LEFT),
    "left, past its deadline": Call(7, "stage", "before", 1, 0, Standing.LEFT, overdue=True),
    "waiting": Call(7, "stage", "before", 1, 0, Standing.WAITING),
    "waiting, the tenant is paused": Call(7, "stage", "before", 1, 0, Standing.WAITING),
    "held": Call(7, "stage", "before", 1, 0, Standing.HELD, worker=1, alive=True),
}
BECOMES = {
    "completed": Verb.COMPLETE,
    "cancelled": Verb.CANCEL,
    "released: available again": Verb.RELEASE,
    "left to the stage, until the deadline": Verb.WAIT,
    "failed: retry rules": Verb.FAIL,
    "timeout: rewind, retry rules": Verb.FAIL,
    "parked": Verb.PARK,
}
PLACES = ("entry", "(stage, running)", "(stage, failed)")


def verdict_on(call: str, row: Row | None) -> Verb:
    job = Job("j", row, CALLS[call], paused="paused" in call)
    decision = resolve(job, lambda _: STAGE).decision
    assert decision is not None
    return decision.verb


def test_the_table_of_calls_is_the_codes() -> None:
    said: dict[tuple[str, str], Verb] = {}
    for call, place, becomes in checked_rows("calls"):
        if call != "any" and place in ROWS:
            said[call, place] = BECOMES[becomes]
    for call in CALLS:
        for place in PLACES:
            if call != "waiting, the tenant is paused" or place == "entry":
                assert verdict_on(call, ROWS[place]) is said.get((call, place), Verb.KEEP)
        assert verdict_on(call, ROWS["(stage, done)"]) is Verb.COMPLETE
        assert verdict_on(call, ROWS["elsewhere"]) is verdict_on(call, None) is Verb.CANCEL


def test_every_finding_has_its_paragraph_in_both_languages() -> None:
    for language, path in PAGES.items():
        page = path.read_text(encoding="utf-8")
        assert page == with_index(page, language), "make api"
        assert {f.link for code in WORDS for f in [Finding(code, "bad")]} == {f"docs/operations.md#{c}" for c in WORDS}
        assert anchors(path) >= WORDS.keys()


def test_every_metric_is_documented() -> None:
    source = (ROOT / "src/pgbaton/worker/telemetry.py").read_text(encoding="utf-8")
    names = set(re.findall(r"\"(pgbaton_\w+)\"", source))
    assert len(names) > 10
    assert names <= set(re.findall(r"`(\w+)`", without_code(read("docs/operations.md"))))


def test_the_layers_that_are_drawn_are_those_that_are_checked() -> None:
    [drawn] = re.findall(r"^## Imports$.*?^```$(.*?)^```$", read("docs/architecture.md"), re.MULTILINE | re.DOTALL)
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    [layers] = [c["layers"] for c in contracts if c.get("containers") == ["pgbaton"]]
    assert drawn.strip().splitlines() == [layer.replace("|", "·") for layer in layers]


def test_every_part_of_the_house_has_its_place_in_the_table() -> None:
    rows = "\n".join(row[0] for row in table_rows("docs/architecture.md") if row)
    for part in (ROOT / "src/pgbaton").iterdir():
        if part.suffix == ".py" or ((part / "__init__.py").exists() and part.name != "sql"):
            assert f"`{part.name}" in rows, part.name


def test_every_target_of_make_is_told_to_contributors() -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", read("Makefile"), re.MULTILINE)) - {"help", "clean"}
    assert targets == set(re.findall(r"^make (\w+)", read("CONTRIBUTING.md"), re.MULTILINE))


def test_the_page_of_the_public_api_is_made_from_the_docstrings_as_they_are() -> None:
    assert read("docs/api.md") == api_page()
