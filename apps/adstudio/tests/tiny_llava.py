"""A vision-language model of a few thousand weights, made on the spot: LLaVA's architecture, nobody's knowledge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

SIDE, PATCH = 28, 14
DARK = {"fits_copy": False, "publishable": False, "reasons": ["It is dark."]}
BRIGHT = {"fits_copy": True, "publishable": True, "reasons": ["It is bright."]}


def picture(level: int) -> Image.Image:
    return Image.fromarray(np.full((SIDE, SIDE, 3), level, np.uint8))


def _processor(text: str) -> LlavaProcessor:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<image>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [text], trainers.BpeTrainer(vocab_size=700, special_tokens=special, initial_alphabet=alphabet)
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", image_token="<image>"
    )
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return LlavaProcessor(
        image_processor=images,
        tokenizer=fast,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def make(folder: Path, prompt: str, *, steps: int) -> None:
    """Write a model to ``folder``; ``steps`` of training teach it what to say to ``prompt`` about two pictures.

    With no steps it is random, and babbles.
    """
    torch.manual_seed(7)
    processor = _processor(f"{prompt} {json.dumps(DARK)} {json.dumps(BRIGHT)} USER: ASSISTANT:")
    size = len(processor.tokenizer)
    layers: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**layers, num_attention_heads=2, image_size=SIDE, patch_size=PATCH),
            text_config=LlamaConfig(
                **layers,
                num_attention_heads=4,
                num_key_value_heads=4,
                vocab_size=size,
                max_position_embeddings=4096,
                bos_token_id=processor.tokenizer.bos_token_id,
                eos_token_id=processor.tokenizer.eos_token_id,
                pad_token_id=processor.tokenizer.pad_token_id,
            ),
            image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
            vision_feature_layer=-1,
        )
    )
    if steps:
        _teach(model, processor, prompt, steps)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _teach(model: Any, processor: Any, prompt: str, steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    lessons = []
    for level, answer in ((10, DARK), (245, BRIGHT)):
        question = f"USER: <image>\n{prompt} ASSISTANT:"
        asked = processor(images=picture(level), text=question, return_tensors="pt")
        taught = processor(images=picture(level), text=f"{question}{json.dumps(answer)}</s>", return_tensors="pt")
        labels = taught["input_ids"].clone()
        labels[:, : asked["input_ids"].shape[1]] = -100
        lessons.append((taught, labels))
    model.train()
    for step in range(steps):
        taught, labels = lessons[step % 2]
        loss = model(**taught, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
