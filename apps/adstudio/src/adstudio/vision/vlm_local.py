"""A vision-language model in this process, by ``transformers`` (the extra of that name).

Any model that ``AutoModelForImageTextToText`` knows, LLaVA among them, from a folder that holds its files. Nothing is
fetched from a hub, no code that comes with a model is run, and weights are read as safetensors only: a pickle could
run anything. Nothing here holds the model to a JSON schema; the prompt asks for it, and the answer is checked.
"""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import BaseModel

from adstudio.vision.errors import ModelError
from adstudio.vision.vlm import MAX_TOKENS

_LLAVA = "USER: {image}\n{prompt} ASSISTANT:"
"""The template that LLaVA 1.5 was trained on; for models that bring no chat template."""


class LocalVisionModel:
    """One model, asked one question at a time: two at once would take twice the memory and no less time."""

    def __init__(self, folder: Path, timeout: float) -> None:
        """Loads the model. Raises :class:`ModelError` naming the folder and the fault."""
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such folder")
        try:
            import torch
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ModuleNotFoundError as error:
            raise ModelError(
                f"{folder}: needs {error.name}; install the extra: pip install 'adstudio[transformers]'"
            ) from None
        self.model, self.timeout = folder.name, timeout
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype="auto"
            )
        except Exception as error:  # from a folder of others' files it raises nearly anything
            raise ModelError(f"{folder}: not a usable vision-language model ({_first_line(error)})") from error
        self._network = loaded.to(self._device).eval()
        self._turn = asyncio.Lock()

    async def say(self, jpeg: bytes | None, prompt: str, schema: type[BaseModel]) -> str:
        """The model's answer to ``prompt``; a caller that goes away ends the work with the next token."""
        stop = threading.Event()
        async with self._turn:
            try:
                return await asyncio.to_thread(self._generate, jpeg, prompt, stop)
            finally:
                stop.set()

    def _generate(self, jpeg: bytes | None, prompt: str, stop: threading.Event) -> str:
        import torch

        def stopped(ids: Any, *_: Any, **__: Any) -> Any:
            return torch.full((ids.shape[0],), stop.is_set(), dtype=torch.bool, device=ids.device)

        with torch.inference_mode():
            picture = None if jpeg is None else Image.open(io.BytesIO(jpeg)).convert("RGB")
            inputs = self._inputs(picture, prompt)
            ids = self._network.generate(
                **inputs, do_sample=False, max_new_tokens=MAX_TOKENS, stopping_criteria=[stopped]
            )
        return str(self._processor.decode(ids[0][inputs["input_ids"].shape[1] :], skip_special_tokens=True)).strip()

    def _inputs(self, picture: Image.Image | None, prompt: str) -> Any:
        if getattr(self._processor, "chat_template", None):
            shown = [] if picture is None else [{"type": "image", "image": picture}]
            content = [*shown, {"type": "text", "text": prompt}]
            made = self._processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        else:
            image = "" if picture is None else getattr(self._processor, "image_token", "<image>")
            text = _LLAVA.format(image=image, prompt=prompt)
            made = self._processor(images=picture, text=text, return_tensors="pt")
        return made.to(self._device, dtype=self._network.dtype)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
