"""Asking a vision-language model one question about one picture, wherever the model is.

Only a complete, well-formed answer to the question counts: nothing is guessed from half of one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from adstudio.vision.errors import InputError

MAX_TOKENS: Final = 1024  # of an answer: stops a model that has begun to repeat itself
MAX_KEPT: Final = 4000  # characters of an answer that are kept with the job

_AGAIN: Final = "Your last answer was refused: {}. Answer once more, with the JSON that was asked for and nothing else."
_THOUGHT: Final = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCED: Final = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*)\n[ \t]*```\s*\Z", re.DOTALL)

Answer = TypeVar("Answer", bound=BaseModel)


class VisionAway(Exception):
    """The model cannot be asked now, about any job: it is down, busy, slow, or not as configured.

    ``retry_after`` in seconds, if the model's server said so. The message holds neither key nor picture nor address.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class VisionNonsense(InputError):
    """The model was asked, and gave no usable answer about this picture; asking again would bring the same.

    As a string it tells the faults of the answer, never the answer. ``trace``: the question and the answer.
    """

    def __init__(self, model: str, fault: str, trace: Mapping[str, object] | None = None) -> None:
        super().__init__(
            f"비전 모델({model})이 이 사진에 대해 쓸 수 있는 답을 주지 않았습니다.",
            f"The vision model {model} gave no usable answer about this picture: {fault}.",
        )
        self.fault, self.trace = fault, trace


class VisionModel(Protocol):
    """A model that looks at pictures; ``timeout`` in seconds for everything that one question takes."""

    @property
    def model(self) -> str: ...

    @property
    def timeout(self) -> float: ...

    async def say(self, jpeg: bytes | None, prompt: str, schema: type[BaseModel]) -> str:
        """The model's answer to ``prompt``, which is about a picture or about words alone.

        Raises :class:`VisionAway` or :class:`VisionNonsense`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Answered(Generic[Answer]):
    """The answer, and the model's own words, bounded."""

    answer: Answer
    said: str


async def ask(model: VisionModel, jpeg: bytes | None, prompt: str, schema: type[Answer]) -> Answered[Answer]:
    """The model's answer to ``prompt`` about the picture.

    An answer that is not as asked is answered once, with its faults; that mends most of them. Raises
    :class:`VisionAway` or :class:`VisionNonsense`.
    """
    said: list[str] = []
    fault: str | None = None
    try:
        async with asyncio.timeout(model.timeout):
            for _ in range(2):
                question = prompt if fault is None else f"{prompt}\n\n{_AGAIN.format(fault)}"
                try:
                    said.append(await model.say(jpeg, question, schema))
                    return Answered(read(model.model, said[-1], schema), _kept(said[-1]))
                except VisionNonsense as nonsense:
                    fault = nonsense.fault
    except TimeoutError:
        if fault is None:
            raise VisionAway(f"{model.model} did not answer within {model.timeout:g} s") from None
    except VisionAway:
        if fault is None:
            raise
    raise VisionNonsense(model.model, fault or "", {"answers": [_kept(text) for text in said]})


def read(model: str, text: str, schema: type[Answer]) -> Answer:
    """The answer in a model's words. Raises :class:`VisionNonsense`."""
    text = _THOUGHT.sub("", text, count=1)
    fenced = _FENCED.match(text)
    try:
        return schema.model_validate_json(fenced[1] if fenced else text)
    except ValidationError as error:
        raise VisionNonsense(model, f"it did not answer as asked: {faults(error)}") from None


def _kept(text: str) -> str:
    """The beginning of a model's answer, without characters that JSON in a database cannot hold."""
    return text[:MAX_KEPT].replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def faults(error: ValidationError) -> str:
    """Each fault and its place, without the input itself: it is long, and a stranger's."""
    found: list[Any] = error.errors(include_url=False, include_context=False, include_input=False)
    told = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'answer'}: {fault['msg']}" for fault in found)
    told = " ".join(told.split())  # an unknown key is the model's own text: it stays on one line
    return told if len(told) <= 300 else told[:299] + "…"
