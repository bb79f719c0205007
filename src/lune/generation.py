"""The one generation path: batched decoding with a key/value cache and early removal of finished rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from lune.batching import Batch, batches, last_positions, prefix_cache, within_window
from lune.chat import Encoded

Tensor = torch.Tensor
ROOM = 32
"""Tokens of an answer for which there is room at a time: most rows have ended by then."""


class Chooser:
    """Picks the next token of each row: greedy, or sampled at a temperature with a seeded generator."""

    def __init__(self, temperature: float = 0.0, seed: int = 0, banned: Sequence[int] = ()) -> None:
        """Set up the choice; ``temperature`` 0 is greedy, ``banned`` token ids never occur."""
        self.temperature = temperature
        self.banned = list(banned)
        # The CPU's generator gives the same numbers whatever the device.
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, logits: Tensor) -> Tensor:
        """Return token ids [B] for logits [B, V]."""
        if self.banned:
            logits = logits.clone()
            logits[:, self.banned] = float("-inf")
        if not self.temperature:
            return logits.argmax(-1)
        probabilities = (logits.float() / self.temperature).softmax(-1).cpu()
        return torch.multinomial(probabilities, 1, generator=self.generator)[:, 0].to(logits.device)


@torch.no_grad()
def decode(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Encoded],
    *,
    stop_ids: frozenset[int],
    max_new_tokens: int,
    batch_size: int,
    choose: Chooser,
    whole: bool = False,
) -> list[str]:
    """Return the answer to each prompt, up to an end of turn, a newline or ``max_new_tokens``.

    A newline that comes before any other character does not stop the answer; with ``whole`` none does.
    """
    answers = [""] * len(prompts)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    for batch in batches(prompts, batch_size, int(pad or 0), model.device):
        written = _decode_batch(
            model,
            batch,
            stop_ids=stop_ids,
            max_new_tokens=max_new_tokens,
            choose=choose,
            ended=lambda ids: not whole and _line_ended(tokenizer, ids),
        )
        for row, ids in zip(batch.order, written, strict=True):
            text = str(tokenizer.decode(ids, skip_special_tokens=True)).strip()
            answers[row] = text if whole or not text else text.splitlines()[0].strip()
    return answers


def _decode_batch(
    model: Any,
    batch: Batch,
    *,
    stop_ids: frozenset[int],
    max_new_tokens: int,
    choose: Chooser,
    ended: Callable[[list[int]], bool],
) -> list[list[int]]:
    batch = within_window(batch, model.config, more=max_new_tokens)
    cache = prefix_cache(model, batch, config=model.config, room=min(max_new_tokens, ROOM))
    written: list[list[int]] = [[] for _ in batch.order]
    alive = list(range(len(written)))
    ids, mask, positions = batch.ids, batch.full_mask, batch.positions
    for _ in range(max_new_tokens):
        output = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=last_positions(ids.shape[1], 1, ids.device),
        )
        chosen = choose(output.logits[:, -1])
        keep = []
        for place, token in enumerate(chosen.tolist()):
            row = written[alive[place]]
            if token in stop_ids:
                continue
            row.append(token)
            if not ended(row):
                keep.append(place)
        if not keep:
            break
        ids, positions = chosen[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones((len(mask), 1))], dim=1)
        if len(keep) < len(alive):
            index = torch.tensor(keep, device=ids.device)
            cache.batch_select_indices(index)
            ids, positions, mask = ids[index], positions[index], mask[index]
            alive = [alive[place] for place in keep]
    return written


def _line_ended(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> bool:
    """Return whether the text has a line end after some text; only the newest token can have brought it."""
    if "\n" not in tokenizer.decode(ids[-1:]):
        return False
    return "\n" in str(tokenizer.decode(ids)).lstrip()
