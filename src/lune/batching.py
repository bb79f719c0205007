"""Batches as every forward pass uses them: one shared prefix, then left-padded rows, sorted by length.

Chat templates put the same system message before every prompt, so the tokens that all rows of a batch share
are run once and their keys and values repeated. This is exact: under a causal mask the prefix cannot see
what follows.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import DynamicCache, DynamicLayer

from lune.chat import Encoded
from lune.counting import tell

Tensor = torch.Tensor


@dataclass(frozen=True)
class Batch:
    """Rows that share their first tokens.

    Attributes:
        prefix: Shared token ids, [P]; may be empty.
        ids: The rest of each row, left-padded, [B, S].
        mask: 1 where ``ids`` is a real token, [B, S].
        responses: Number of response tokens at the end of each row, [B].
        order: Where each row stood in the caller's list.
    """

    prefix: Tensor
    ids: Tensor
    mask: Tensor
    responses: Tensor
    order: list[int]

    @property
    def full_mask(self) -> Tensor:
        """Attention mask over prefix and rows, [B, P + S]."""
        ones = self.mask.new_ones((len(self.ids), len(self.prefix)))
        return torch.cat([ones, self.mask], dim=1)

    @property
    def positions(self) -> Tensor:
        """Position of every token of ``ids``, [B, S]."""
        return (self.mask.cumsum(-1) - 1).clamp(min=0) + len(self.prefix)

    def joined(self) -> Batch:
        """Return the same rows with nothing shared."""
        count, shared = len(self.ids), len(self.prefix)
        ids = torch.cat([self.prefix.expand(count, shared), self.ids], dim=1)
        # The padding moves from between prefix and row to the very left; a stable sort keeps all else in order.
        order = self.full_mask.argsort(dim=1, stable=True)
        return replace(self, prefix=self.prefix[:0], ids=ids.gather(1, order), mask=self.full_mask.gather(1, order))


def make_batch(
    rows: Sequence[Encoded], order: list[int], pad_id: int, device: torch.device, *, share: bool = True
) -> Batch:
    """Return the batch of ``rows``; at least one prompt token and every response token stay outside the prefix.

    ``share=False`` leaves the prefix empty, for callers that look at every token of every row.
    """
    longest = min(len(row.prompt) for row in rows) - 1 if share else 0
    first = rows[0].prompt
    shared = 0
    while shared < longest and all(row.prompt[shared] == first[shared] for row in rows):
        shared += 1
    tails = [row.ids[shared:] for row in rows]
    width = max(map(len, tails))
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for index, tail in enumerate(tails):
        ids[index, width - len(tail) :] = torch.tensor(tail)
        mask[index, width - len(tail) :] = 1
    responses = torch.tensor([len(row.response) for row in rows])
    prefix = torch.tensor(first[:shared], dtype=torch.long)
    return Batch(prefix.to(device), ids.to(device), mask.to(device), responses.to(device), order)


def batches(
    rows: Sequence[Encoded], size: int, pad_id: int, device: torch.device, *, share: bool = True
) -> Iterator[Batch]:
    """Yield ``rows`` in batches of at most ``size``, sorted by length so that little is padded; tell how far it is."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].ids))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        yield make_batch([rows[index] for index in chosen], chosen, pad_id, device, share=share)
        tell(start + len(chosen), len(order))


def last_positions(width: int, count: int, device: torch.device) -> Tensor:
    """Return the last ``count`` of ``width`` positions, for ``logits_to_keep``.

    As an index and not a number: a number makes transformers slice, and the output head then runs on a strided
    tensor, for which torch copies the whole vocabulary matrix once a row on a CPU.
    """
    return torch.arange(width - count, width, device=device)


def within_window(batch: Batch, config: Any, *, more: int = 0) -> Batch:
    """Return ``batch``, without a shared prefix where the model attends only to a window shorter than its rows.

    Such a window counts columns, so the padding between prefix and row would push the prefix out of it.

    Args:
        batch: Any batch.
        config: The model's configuration.
        more: How many tokens will be written after each row.
    """
    width = len(batch.prefix) + batch.ids.shape[1] + more
    return batch.joined() if shortest_window(config) < width else batch


def shortest_window(config: Any) -> float:
    """Return how many tokens the model's attention looks back at in its most short-sighted layer; infinity for all."""
    text = config.get_text_config()
    windows = [getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((window for window in windows if window), default=math.inf)


class _RoomyLayer(DynamicLayer):
    """Keys and values of one layer, written in place while there is room.

    transformers' own layer copies everything written so far for every new token. Not for training: a later write would
    spoil what is remembered for the gradient.
    """

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room = room
        self._kept: tuple[Tensor, ...] = ()

    def update(self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values, [B, H, S, D] each, and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if not self._kept or self._kept[0].shape[-2] < end:
            self._kept = (self._roomier(key_states), self._roomier(value_states))
            for kept, old in zip(self._kept, (self.keys, self.values), strict=True):
                if start and old is not None:
                    kept[:, :, :start] = old
        for kept, new in zip(self._kept, (key_states, value_states), strict=True):
            kept[:, :, start:end] = new
        return self._show(end)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row; the room is made anew."""
        super().batch_repeat_interleave(repeats)
        self._kept = ()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only some rows, with their room."""
        if self._kept:
            end = self.get_seq_length()
            self._kept = tuple(kept[indices] for kept in self._kept)
            self._show(end)
        else:
            super().batch_select_indices(indices)

    def _roomier(self, new: Tensor) -> Tensor:
        rows, heads, added, width = new.shape
        return new.new_empty((rows, heads, self.get_seq_length() + added + self._room, width))

    def _show(self, end: int) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (kept[:, :, :end] for kept in self._kept)
        return self.keys, self.values


def prefix_cache(model: Any, batch: Batch, *, config: Any, room: int = 0) -> DynamicCache:
    """Run the shared prefix once and return its keys and values repeated for every row.

    Without room gradients flow through it, so a trained adapter sees the prefix exactly as without sharing.

    Args:
        model: The model.
        batch: Its prefix may be empty.
        config: The model's configuration.
        room: For how many tokens there is to be room after the rows, to write them one by one; without gradients only.
    """
    cache = DynamicCache(config=config)
    if room:
        assert not torch.is_grad_enabled()
        # A layer of another kind, such as one with a sliding window, stays as it is.
        cache.layers = [_RoomyLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    if len(batch.prefix):
        keep = last_positions(len(batch.prefix), 1, batch.ids.device)
        model(input_ids=batch.prefix[None], past_key_values=cache, use_cache=True, logits_to_keep=keep)
        cache.batch_repeat_interleave(len(batch.ids))
    return cache


def run_batch(model: Any, batch: Batch, *, config: Any) -> DynamicCache:
    """Return keys and values of the shared prefix and the rows; the output head runs at their last tokens alone."""
    cache = prefix_cache(model, batch, config=config)
    model(
        input_ids=batch.ids,
        attention_mask=batch.full_mask,
        position_ids=batch.positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=last_positions(batch.ids.shape[1], 1, batch.ids.device),
    )
    return cache


def response_logits(model: Any, batch: Batch, *, config: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits that predict response tokens, without ever making the whole [B, S, V] tensor.

    Returns:
        logits [N, V], their target ids [N] and the row each belongs to [N], N being the number of response
        tokens in the batch, in row order.
    """
    batch = within_window(batch, config)
    cache = prefix_cache(model, batch, config=config)
    return _logits_of_responses(model, batch, cache, batch.full_mask, batch.positions)


def _logits_of_responses(
    model: Any, batch: Batch, cache: DynamicCache, mask: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a batch after what is in the cache, as ``response_logits`` does; ``mask`` is over both, [B, P + S]."""
    longest = int(batch.responses.max())
    # Rows end together, so the last `longest` targets hold every response token; a row's own are its last ones.
    targets = batch.ids[:, -longest:]
    place = torch.arange(longest, device=batch.ids.device)[None]
    wanted = place >= longest - batch.responses[:, None]
    with _head_at(model, wanted):
        output = model(
            input_ids=batch.ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=last_positions(batch.ids.shape[1], longest + 1, batch.ids.device),
        )
    rows = torch.arange(len(batch.ids), device=batch.ids.device)[:, None].expand_as(wanted)
    return output.logits[0], targets[wanted], rows[wanted]


@dataclass(frozen=True)
class PromptsRun:
    """Prompts that were run once, all but their last token, for the many responses to each of them.

    Attributes:
        cache: Their keys and values.
        mask: 1 where the cache holds a real token, [prompts, C].
    """

    cache: DynamicCache
    mask: Tensor


@torch.no_grad()
def run_prompts(model: Any, prompts: Sequence[Sequence[int]], *, pad_id: int, config: Any) -> PromptsRun:
    """Run prompts of at least two tokens, without their last, which predicts the first token of a response."""
    rows = [Encoded(tuple(prompt[:-1]), ()) for prompt in prompts]
    batch = make_batch(rows, list(range(len(rows))), pad_id, model.device)
    return PromptsRun(run_batch(model, batch, config=config), batch.full_mask)


@torch.no_grad()
def logits_after_prompts(
    model: Any, run: PromptsRun, owners: Sequence[int], rows: Sequence[Encoded], *, pad_id: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what ``response_logits`` returns for rows whose prompts were run.

    Args:
        model: The model.
        run: The prompts.
        owners: Which of them each row has.
        rows: Prompts and responses.
        pad_id: Fills the left of short rows.
    """
    tails = [Encoded(row.prompt[-1:], row.response) for row in rows]
    batch = make_batch(tails, list(range(len(rows))), pad_id, model.device, share=False)
    chosen = torch.tensor(owners, device=model.device)
    cache = copy.copy(run.cache)
    cache.layers = [copy.copy(layer) for layer in cache.layers]
    cache.batch_select_indices(chosen)  # makes new tensors, so the prompts' own stay for the next rows
    before = run.mask[chosen]
    positions = batch.positions + before.sum(dim=1, keepdim=True)
    return _logits_of_responses(model, batch, cache, torch.cat([before, batch.mask], dim=1), positions)


@contextmanager
def _head_at(model: Any, wanted: Tensor) -> Iterator[None]:
    """Let the output head see only the hidden states that predict wanted tokens: it is a fifth of a small model.

    Args:
        model: The model; its head is given the hidden states of the last L + 1 positions, [B, L + 1, D].
        wanted: Which of the last L tokens of each row are asked for, [B, L]; the head gets [1, N, D] instead.
    """

    def choose(_head: torch.nn.Module, arguments: tuple[Tensor, ...]) -> Tensor:
        return arguments[0][:, :-1][wanted][None]

    handle = model.get_output_embeddings().register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()
