"""A vision-language model behind the OpenAI chat API, which Ollama, vLLM and llama.cpp's server speak."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PyreqwestError, RequestTimeoutError

from adstudio.vision.vlm import MAX_TOKENS, VisionAway, VisionNonsense, faults

MAX_ANSWER: Final = 1024 * 1024  # bytes; a good answer has a thousand

_UNREAD: Final = (400, 413, 422)
"""The server cannot take this question. Any other refusal (a wrong key, no such model, too busy) is about itself."""
_LONGEST_WAIT: Final = 300.0  # seconds; the engine heeds no longer one


class _Message(BaseModel):
    content: str | None


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

    async def say(self, jpeg: bytes | None, prompt: str, schema: type[BaseModel]) -> str:
        """The model's answer, held to ``schema`` by servers that can.

        A server that knows no schemas refuses the question: it is asked again without, for the prompt says it, too.
        """
        question = _question(self.model, jpeg, prompt, schema)
        status, answer, wait = await self._post(json.dumps(question).encode())
        if status in _UNREAD:
            del question["response_format"]
            status, answer, wait = await self._post(json.dumps(question).encode())
        if status in _UNREAD:
            raise VisionNonsense(self.model, f"its server refused the question with HTTP status {status}")
        if 300 <= status < 400:
            raise VisionAway(f"{self.model} answered with a redirect ({status}); redirects are not followed")
        if status != 200:
            raise VisionAway(f"{self.model} answered with HTTP status {status}", wait)
        return self._content(answer)

    async def _post(self, body: bytes) -> tuple[int, bytes, float | None]:
        builder = (
            # No redirect may carry the key and the picture to a host that no operator configured, and no
            # proxy from the environment may see them. A client takes 3 ms to build, an answer seconds.
            ClientBuilder().follow_redirects(False).no_proxy().timeout(timedelta(seconds=self.timeout))
        )
        try:
            async with builder.build() as client:
                request = client.post(f"{self.url.rstrip('/')}/chat/completions").body_bytes(body)
                request = request.header("Content-Type", "application/json")
                if self.api_key is not None:
                    request = request.bearer_auth(self.api_key.get_secret_value())
                async with request.build_streamed() as response:
                    if response.status != 200:
                        return response.status, b"", _seconds(response.get_header("retry-after"))
                    answer = bytearray()
                    while (chunk := await response.body_reader.read_chunk()) is not None:
                        answer += chunk
                        if len(answer) > MAX_ANSWER:
                            raise VisionNonsense(self.model, f"it answered with more than {MAX_ANSWER} bytes")
                    return response.status, bytes(answer), None
        except RequestTimeoutError:
            raise VisionAway(f"{self.model} did not answer within {self.timeout:g} s") from None
        except (PyreqwestError, ValueError) as error:
            # Only its kind: the message of such an error can quote the URL with a password, or a header.
            raise VisionAway(f"{self.model} could not be asked ({type(error).__name__})") from None

    def _content(self, answer: bytes) -> str:
        try:
            choice = _Completion.model_validate_json(answer).choices[0]
        except ValidationError as error:
            # A proxy's page, or an error with a status of 200: that is no answer about the picture.
            raise VisionAway(f"{self.model} did not answer as the chat API does: {faults(error)}") from None
        if choice.finish_reason == "length":
            raise VisionNonsense(self.model, f"its answer was cut off after {MAX_TOKENS} tokens")
        if choice.message.content is None:
            raise VisionNonsense(self.model, "it said nothing")
        return choice.message.content


def _seconds(header: str | None) -> float | None:
    """``Retry-After`` in seconds; its other form, a date, is not worth a clock that may differ."""
    return min(float(header), _LONGEST_WAIT) if header and header.isascii() and header.isdecimal() else None


def _question(model: str, jpeg: bytes | None, prompt: str, schema: type[BaseModel]) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
    if jpeg is not None:
        picture = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        content.append({"type": "image_url", "image_url": {"url": picture}})
    return {
        "model": model,
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": content}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": schema.__name__, "strict": True, "schema": schema.model_json_schema()},
        },
    }
