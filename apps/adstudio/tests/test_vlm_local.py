"""A vision-language model in this process: real loading and generating, on a tiny model that the tests make."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest

from adstudio.vision.errors import ModelError
from adstudio.vision.prompts import prompt
from adstudio.vision.vlm import VisionAway, VisionNonsense
from adstudio.vision.vlm_local import LocalVisionModel
from adstudio.vision.vlm_verdict import vlm_validate

COPY = "Good morning"
installed = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))
needs_transformers = pytest.mark.skipif(not installed, reason="the extra transformers is not installed")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_llava import make

    folder = tmp_path_factory.mktemp("models") / "tiny-llava"
    make(folder, prompt("photo").about(COPY, "en"), steps=160)
    return folder


@pytest.fixture(scope="module")
def babbling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_llava import make

    folder = tmp_path_factory.mktemp("models") / "babbler"
    make(folder, prompt("photo").about(COPY, "en"), steps=0)
    return folder


@needs_transformers
async def test_a_model_in_a_folder_looks_at_the_picture_and_its_verdict_counts(taught: Path) -> None:
    model = LocalVisionModel(taught, timeout=60)
    for level, passed, reason in ((10, False, "It is dark."), (245, True, "It is bright.")):
        verdict = await vlm_validate(model, np.full((300, 300, 3), level, np.uint8), COPY, "en")
        assert (verdict.passed, verdict.judge, verdict.reasons[-1]) == (passed, "tiny-llava", reason)
        assert dict(verdict.trace or {})["prompt"] == "photo-1"


@needs_transformers
async def test_a_model_that_babbles_is_asked_twice_and_then_refused(babbling: Path) -> None:
    with pytest.raises(VisionNonsense) as caught:
        await vlm_validate(LocalVisionModel(babbling, timeout=60), np.zeros((300, 300, 3), np.uint8), COPY, "en")
    assert len(dict(caught.value.trace or {})["answers"]) == 2  # type: ignore[arg-type]


@needs_transformers
async def test_a_model_that_takes_too_long_is_given_up_and_stops_working(babbling: Path) -> None:
    model = LocalVisionModel(babbling, timeout=0.05)
    began = time.monotonic()
    with pytest.raises(VisionAway, match=r"babbler did not answer within 0\.05 s"):
        await vlm_validate(model, np.zeros((300, 300, 3), np.uint8), COPY, "en")
    assert time.monotonic() - began < 5
    await asyncio.wait_for(asyncio.to_thread(lambda: None), 5)


@needs_transformers
def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="not a usable vision-language model"):
        LocalVisionModel(tmp_path, timeout=1)


@needs_transformers
def test_weights_that_are_a_pickle_are_not_opened(babbling: Path, tmp_path: Path) -> None:
    for file in babbling.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'echo owned'\ntR.")
    with pytest.raises(ModelError, match="not a usable vision-language model"):
        LocalVisionModel(tmp_path, timeout=1)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="absent: no such folder"):
        LocalVisionModel(tmp_path / "absent", timeout=1)


@pytest.mark.skipif(installed, reason="the extra transformers is installed")
def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"needs (torch|transformers); install the extra"):
        LocalVisionModel(tmp_path, timeout=1)
