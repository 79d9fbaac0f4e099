"""Pipelines that can be, and the sentences that say why others cannot."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pgbaton.model import Advance, Dispatch, Outcome, Pipeline, Row, Stage, State

CUT = {"step": "cut", "after": "made", "path": "/cut"}
GLUE = {"step": "glue", "after": "cut", "path": "/glue"}
CRAFT: dict[str, Any] = {
    "name": "craft",
    "table": "public.jobs",
    "key": "job_id",
    "step": "current_step",
    "status": "status",
    "base_url": "http://127.0.0.1:8011",
    "stages": [CUT, GLUE],
}


def craft(**changes: Any) -> Pipeline:
    return Pipeline.model_validate(CRAFT | changes)


def with_cut(**changes: Any) -> Pipeline:
    return craft(stages=[CUT | changes, GLUE])


def faults(error: ValidationError) -> list[tuple[str, str]]:
    return [(".".join(str(part) for part in f["loc"]), f["msg"]) for f in error.errors()]


# -- one key at a time ----------------------------------------------------------------------------

LONG = "x" * 64
NAME = "1 to 48 lower-case letters, digits and underscores, a letter first"
IDENTIFIER = "a column or channel name of 1 to 63 bytes without quotes or control characters"
STEP = "1 to 200 bytes, with no space around it and no control characters"
PATH = "must be a path such as /api/detect"
ADDRESS = "must be an http:// or https:// address"
NO_SECRETS = "must hold no user, password, query or fragment"

BAD: list[tuple[str, list[Any], str]] = [
    ("name", ["", "Craft", "1st", "_x", "a-b", "a b", "a.b", "x" * 49, "공예", "a\n"], NAME),
    ("name", [7, None, [], {}], "valid string"),
    ("table", ["a.b.c", "a..b"], "must be a table name, or schema.table"),
    ("table", ["", ".", "a.", ".b", 'a"b', "a\nb", "a\x00", LONG, f"a.{LONG}", "한" * 22], IDENTIFIER),
    *((key, ["", 'a"b', "a\tb", "a\x7f", LONG, "한" * 22], IDENTIFIER) for key in ("key", "tenant", "step", "status")),
    ("key", [7, None, [], ["a", 7], ["a"] * 9], "must be a column name, or a list of at most 8"),
    ("channel", ["", 'a"b', LONG], IDENTIFIER),
    ("channel", ["pgbaton_wake"], "pgbaton_wake is the engine's own channel"),
    (
        "base_url",
        ["", "127.0.0.1", "ftp://h", "file:///etc/passwd", "http://", "http:///x", "//h", "http://:80"],
        ADDRESS,
    ),
    ("base_url", ["http://h h", "http://h\n", "http://h\x00"], ADDRESS),
    ("base_url", ["http://u@h", "http://u:p@h", "http://@h", "http://h?x=1", "http://h#f"], NO_SECRETS),
    ("base_url", ["http://h?", "http://h#", "http://h/?", "http://h\\x"], ""),
    ("base_url", ["http://h:port", "http://h:99999", "http://[::1"], ""),
    ("stages", [[]], "at least 1 item"),
    ("stages", [None, 7, "cut", {"cut": CUT}], ""),
    ("stages", [["cut"], [None], [[]]], ""),
]
BAD_STAGE: list[tuple[str, list[Any], str]] = [
    *((key, ["", " a", "a ", "a\n", "a\x00b", "x" * 201, "한" * 67], STEP) for key in ("step", "after")),
    ("step", [None, 7, ["a"]], "valid string"),
    ("path", ["", "cut", "//h/cut", "http://h/cut", "/a b", "/a\n", "/a#b", "/a\\b", "/\x00"], PATH),
    ("timeout", [0, -1, float("inf"), float("nan"), 7 * 86400 + 1, "soon", None, [1]], ""),
    ("attempts", [0, -1, 1001, 1.5, "many", None], ""),
    ("concurrency", [0, -1, 1.5, 100_001, "many"], ""),
    ("advance", ["me", "", None, 1], "'stage' or 'engine'"),
]


@pytest.mark.parametrize(
    ("key", "value", "sentence"), [(k, v, s) for k, values, s in BAD for v in values], ids=lambda v: ascii(v)[:30]
)
def test_a_value_that_cannot_be_is_refused_by_its_key(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        craft(**{key: value})
    assert any(where.split(".")[0] == key and sentence in said for where, said in faults(refused.value))


@pytest.mark.parametrize(
    ("key", "value", "sentence"), [(k, v, s) for k, values, s in BAD_STAGE for v in values], ids=lambda v: ascii(v)[:30]
)
def test_a_value_that_cannot_be_is_refused_by_its_stage_and_key(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        with_cut(**{key: value})
    assert any(where == f"stages.0.{key}" and sentence in said for where, said in faults(refused.value))


@pytest.mark.parametrize("key", CRAFT)
def test_a_missing_key_is_missed(key: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Pipeline.model_validate({k: v for k, v in CRAFT.items() if k != key})
    assert faults(refused.value) == [(key, "Field required")]


@pytest.mark.parametrize("key", CUT)
def test_a_missing_key_of_a_stage_is_missed(key: str) -> None:
    with pytest.raises(ValidationError) as refused:
        craft(stages=[{k: v for k, v in CUT.items() if k != key}])
    assert (f"stages.0.{key}", "Field required") in faults(refused.value)


def test_an_unknown_key_is_refused() -> None:
    for wrong in ({"colour": "red"}, {"Name": "x"}, {"stage": [CUT]}):
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            craft(**wrong)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        with_cut(retries=3)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as refused:
        craft(name="No", table="a.b.c", stages=[CUT | {"path": "x", "attempts": 0}, GLUE])
    assert [where for where, _ in faults(refused.value)] == ["name", "table", "stages.0.path", "stages.0.attempts"]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a"},
        {"name": "x" * 48},
        {"table": "jobs"},
        {"table": "Shop.Orders"},
        {"table": "o'clock 100% $$"},
        {"key": "x" * 63},
        {"key": "한" * 21},
        {"tenant": None},
        {"tenant": "Tenant Id"},
        {"channel": None},
        {"channel": "Job State!"},
        {"base_url": "https://stages.example:8443/api"},
        {"base_url": "http://[::1]:8011"},
    ],
)
def test_an_odd_but_possible_value_is_taken_as_it_is(changes: dict[str, Any]) -> None:
    made = craft(**changes)
    assert {key: getattr(made, key) for key in changes} == changes


def test_an_address_may_end_in_slashes() -> None:
    assert craft(base_url="http://h/api//").base_url == "http://h/api"


# -- routes ---------------------------------------------------------------------------------------


def line_of(*routes: tuple[str, str]) -> Pipeline:
    return craft(stages=[{"step": step, "after": after, "path": "/x"} for after, step in routes])


@pytest.mark.parametrize(
    ("routes", "sentence"),
    [
        ([("a", "b"), ("a", "c")], "two routes lead from the state ('a', done)"),
        ([("a", "b"), ("b", "c"), ("b", "d")], "two routes lead from the state ('b', done)"),
        ([("a", "b"), ("c", "b")], "the step 'b' is performed by two stages"),
        ([("a", "b"), ("a", "b")], "the step 'b' is performed by two stages"),
        ([("a", "b"), ("c", "d")], "the stage 'd' is unreachable: no stage performs 'c'"),
        ([("a", "b"), ("b", "c"), ("d", "e"), ("e", "f")], "the stage 'e' is unreachable: no stage performs 'd'"),
        ([("a", "a")], "the stage 'a' is unreachable: it follows itself"),
        ([("a", "b"), ("b", "a")], "the stage 'b' is unreachable: it follows itself"),
        ([("a", "b"), ("c", "d"), ("d", "e"), ("e", "c")], "the stage 'd' is unreachable: it follows itself"),
    ],
)
def test_routes_that_make_no_sense_are_refused(routes: list[tuple[str, str]], sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        line_of(*routes)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"key": "status"}, "status"),
        ({"tenant": "job_id"}, "job_id"),
        ({"step": "x", "status": "x"}, "x"),
    ],
)
def test_a_column_has_one_part_to_play(changes: dict[str, str], column: str) -> None:
    with pytest.raises(ValidationError, match=f"the column '{column}' is named twice"):
        craft(**changes)


@given(st.permutations(range(8)))
def test_stages_may_be_listed_in_any_order(order: list[int]) -> None:
    routes = [(f"s{n}", f"s{n + 1}") for n in range(8)]
    shuffled = line_of(*(routes[n] for n in order))
    assert [(s.after, s.step) for s in shuffled.in_order] == routes
    assert [s.step for s in shuffled.stages] == [f"s{n + 1}" for n in order]


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde")), min_size=1, max_size=5))
def test_routes_are_one_line_or_refused(routes: list[tuple[str, str]]) -> None:
    try:
        made = line_of(*routes)
    except ValidationError:
        return
    line = made.in_order
    assert {(s.after, s.step) for s in line} == set(routes)
    assert len(line) == len(routes)
    assert all(one.step == next_one.after for one, next_one in pairwise(line))
    assert len({line[0].after, *(s.step for s in line)}) == len(routes) + 1, "no state comes twice"


# -- the objects ----------------------------------------------------------------------------------


def test_a_pipeline_cannot_be_changed_and_equal_ones_are_equal() -> None:
    made = craft()
    assert made == craft()
    assert hash(made) == hash(craft())
    assert made != craft(channel="x")
    with pytest.raises(ValidationError, match="frozen"):
        made.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        made.stages[0].attempts = 1  # type: ignore[misc]


def test_a_value_that_is_left_out_has_the_contracts_default() -> None:
    stage = craft().stage("cut")
    assert (stage.timeout, stage.attempts, stage.concurrency, stage.advance) == (600, 5, None, Advance.STAGE)
    assert (craft().tenant, craft().channel) == (None, None)


def test_a_stage_is_found_by_its_step() -> None:
    assert craft().stage("glue").entry == ("cut", "done")
    with pytest.raises(KeyError):
        craft().stage("made")


def test_a_stage_may_be_given_as_an_object_or_as_its_values() -> None:
    assert craft(stages=[Stage(**CUT), GLUE]) == craft()  # type: ignore[arg-type]
    assert Pipeline(**CRAFT) == craft()


def test_the_words_of_the_contract_stay_as_they_are() -> None:
    assert [s.value for s in State] == ["available", "running", "retryable", "completed", "dead", "cancelled"]
    assert {o.value for o in Outcome} == {
        "completed",
        "failed",
        "accepted",
        "unknown",
        "deferred",
        "rejected",
        "breach",
        "timeout",
        "lost",
        "released",
        "superseded",
        "refused",
        "moved",
        "skipped",
        "waiting",
        "decided",
        "expired",
        "gathered",
        "exhausted",
    }


def test_an_attempt_is_named_by_its_dispatch_and_its_number() -> None:
    first = Dispatch(7, "j", "cut", 1, 3, Row("t", "made", "done"))
    assert first.name == (7, 1)
    assert (first.row.at, first.probing, first.waited) == (("made", "done"), False, 0.0)


def test_an_error_never_repeats_an_address_that_may_hold_a_password() -> None:
    with pytest.raises(ValidationError) as refused:
        craft(base_url="http://me:hunter2@h")
    assert "hunter2" not in str(refused.value)
