"""Answers a second: transformers' ``generate`` one prompt at a time and in batches, and this project's."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from benchmarks.goal import goal_probes
from benchmarks.rivals import load_plain
from lune.language_model import MAX_NEW_TOKENS
from lune.models import load_model
from lune.preparation import Prepared

BATCH_OF = {"one-by-one": 1, "batched-16": 16}


def prompts_of(prepared: Prepared, count: int) -> list[str]:
    """Return ``count`` prompts, or as many as there are, taken evenly from all kinds of test probes."""
    prompts = list(dict.fromkeys(probe.prompt for probe in goal_probes(prepared)))
    count = min(count, len(prompts))
    return [prompts[place * len(prompts) // count] for place in range(count)]


def measure(way: str, source: str, prompts: Sequence[str]) -> dict[str, Any]:
    """Answer all prompts greedily in float32 and return the speed with a short hash of every answer.

    All ways write ``MAX_NEW_TOKENS`` tokens or up to the end of the turn, nothing is cut at a newline, and reading the
    prompts into tokens is part of the time. One prompt is answered before the clock starts.
    """
    if way == "lune":
        loaded = load_model(source, dtype="float32")
        loaded.answer(prompts[:1], whole=True)
        began = time.perf_counter()
        answers = loaded.answer(prompts, whole=True)
    else:
        model, tokenizer = load_plain(source)
        model.float().eval()
        generate(model, tokenizer, prompts[:1], 1)
        began = time.perf_counter()
        answers = generate(model, tokenizer, prompts, BATCH_OF[way])
    seconds = time.perf_counter() - began
    return {"probes_per_s": len(prompts) / seconds, "answers": [_short(answer) for answer in answers]}


def generate(model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], size: int) -> list[str]:
    """Return transformers' own greedy answers, in left-padded batches of ``size``, as its documentation does it."""
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    answers: list[str] = []
    for start in range(0, len(prompts), size):
        turns = [[{"role": "user", "content": prompt}] for prompt in prompts[start : start + size]]
        inputs: Any = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True
        )
        with torch.no_grad():
            written = model.generate(
                **inputs.to(model.device),
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
        new = written[:, inputs["input_ids"].shape[1] :]
        answers += [str(text).strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]
    return answers


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
