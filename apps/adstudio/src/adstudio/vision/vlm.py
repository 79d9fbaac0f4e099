"""Asking a vision-language model one question about one picture, over the OpenAI chat API.

Ollama, vLLM and llama.cpp's server speak it. Whatever is not a complete, well-formed answer to the
question is a ``VisionError``: nothing is guessed from half an answer.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PyreqwestError, RequestTimeoutError

MAX_ANSWER: Final = 1024 * 1024  # bytes; a good answer has a thousand
MAX_TOKENS: Final = 1024  # stops a model that has begun to repeat itself

_FENCED: Final = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*)\n[ \t]*```\s*\Z", re.DOTALL)

Answer = TypeVar("Answer", bound=BaseModel)


class VisionError(Exception):
    """No usable answer. The message holds neither key nor picture, and of the answer only its faults."""


class _Message(BaseModel):
    content: str


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class VisionEndpoint:
    """Where a model is: ``url`` up to and including ``/v1``; ``timeout`` in seconds for a whole answer."""

    url: str
    model: str
    api_key: SecretStr | None
    timeout: float

    async def ask(self, photo_jpeg: bytes, prompt: str, schema: type[Answer]) -> Answer:
        """The model's answer to ``prompt`` about the picture; raises ``VisionError``, and only that."""
        body = json.dumps(_question(self.model, photo_jpeg, prompt, schema)).encode()
        try:
            status, answer = await self._post(body)
        except RequestTimeoutError:
            raise VisionError(f"{self.model} did not answer within {self.timeout:g} s.") from None
        except (PyreqwestError, ValueError) as error:
            # Only its kind: the message of such an error can quote the URL with a password, or a header.
            raise VisionError(f"{self.model} could not be asked ({type(error).__name__}).") from None
        if 300 <= status < 400:
            raise VisionError(f"{self.model} answered with a redirect ({status}); redirects are not followed.")
        if status != 200:
            raise VisionError(f"{self.model} answered with HTTP status {status}.")
        return self._parsed(answer, schema)

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        builder = (
            # No redirect may carry the key and the picture to a host that nobody configured, and no
            # proxy from the environment may see them. A client takes 3 ms to build, an answer seconds.
            ClientBuilder().follow_redirects(False).no_proxy().timeout(timedelta(seconds=self.timeout))
        )
        async with builder.build() as client:
            request = client.post(f"{self.url.rstrip('/')}/chat/completions").body_bytes(body)
            request = request.header("Content-Type", "application/json")
            if self.api_key is not None:
                request = request.bearer_auth(self.api_key.get_secret_value())
            async with request.build_streamed() as response:
                if response.status != 200:
                    return response.status, b""
                answer = bytearray()
                while (chunk := await response.body_reader.read_chunk()) is not None:
                    answer += chunk
                    if len(answer) > MAX_ANSWER:
                        raise VisionError(f"{self.model} answered with more than {MAX_ANSWER} bytes.")
                return response.status, bytes(answer)

    def _parsed(self, answer: bytes, schema: type[Answer]) -> Answer:
        try:
            choice = _Completion.model_validate_json(answer).choices[0]
        except ValidationError as error:
            raise VisionError(f"{self.model} did not answer as the chat API does: {_faults(error)}.") from None
        if choice.finish_reason == "length":
            raise VisionError(f"{self.model}'s answer was cut off after {MAX_TOKENS} tokens.")
        text = choice.message.content
        fenced = _FENCED.match(text)
        try:
            return schema.model_validate_json(fenced[1] if fenced else text)
        except ValidationError as error:
            raise VisionError(f"{self.model} did not answer as asked: {_faults(error)}.") from None


def _question(model: str, photo_jpeg: bytes, prompt: str, schema: type[BaseModel]) -> dict[str, Any]:
    picture = f"data:image/jpeg;base64,{base64.b64encode(photo_jpeg).decode()}"
    return {
        "model": model,
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": prompt},
                    {"type": "image_url", "image_url": {"url": picture}},
                ],
            }
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": schema.__name__, "strict": True, "schema": schema.model_json_schema()},
        },
    }


def _faults(error: ValidationError) -> str:
    """What is wrong and where, without the input itself: it is long, and a stranger's."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'answer'}: {fault['msg']}" for fault in faults)
    told = " ".join(told.split())  # an unknown key is the model's own text: it stays on one line
    return told if len(told) <= 300 else told[:299] + "…"
