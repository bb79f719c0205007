"""Rows as one sequence: what they share once, then the rest of each behind one another, with nothing padded.

Everything in a decoder layer but attention looks at one token at a time, so a batch can go through it as one long row:
the first tokens that all rows share, run once, then the others, each with the position it has in its own row. Attention
alone must know which row a token belongs to; it is told by a function of this module that transformers' attention
interface calls in place of its own. The result is that of padded rows. For a small batch this halves the number of
operations (a shared prefix needs no pass of its own) and spares the work on padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

from lune.chat import Encoded

Tensor = torch.Tensor
IMPLEMENTATION = "lune_packed"
_KNOWN = {"dropout", "scaling", "is_causal", "sliding_window", "softcap", "position_ids", "use_cache"}
"""What an attention may be told besides its tensors; anything else could change what it computes.

Whoever packs rows makes sure that none is longer than the window (``lune.batching.shortest_window``).
"""


@dataclass(frozen=True)
class Packed:
    """Rows as one sequence of N tokens: P shared ones, then what is left of each of the B rows.

    Attributes:
        ids: Token ids, [1, N].
        positions: The position of each in its row, [1, N].
        shared: P.
        lengths: How many tokens each row has besides the shared ones, [B] of them.
        apart: Whether the shared tokens are attended to by themselves and not as a group.
        places: Where in the sequence the S tokens of each of the G groups stand, [G, S]: the shared ones first unless
            they are apart, then the rows; short groups are filled up with tokens that nothing is read from.
        seen: Where the P + S tokens that a group may look at stand, [G, P + S].
        mask: What each token of a group must not look at, as -inf to add, [G, S, P + S].
        back: Where the tokens of all groups stand in ``places``, flattened.
        predicting: The places of the sequence whose next token is one of a response, [R].
        targets: These next tokens, [R].
        owners: The row of each, [R].
    """

    ids: Tensor
    positions: Tensor
    shared: int
    lengths: tuple[int, ...]
    apart: bool
    places: Tensor
    seen: Tensor
    mask: Tensor
    back: Tensor
    predicting: Tensor
    targets: Tensor
    owners: Tensor


def shared_tokens(rows: Sequence[Encoded]) -> int:
    """Return how many first tokens all prompts share; at least one token of each stays its own."""
    first = rows[0].prompt
    longest = min(len(row.prompt) for row in rows) - 1
    shared = 0
    while shared < longest and all(row.prompt[shared] == first[shared] for row in rows):
        shared += 1
    return shared


def pack(rows: Sequence[Encoded], device: torch.device) -> Packed:
    """Return ``rows`` as one sequence.

    Args:
        rows: Prompts of at least one token with their responses; at least one row.
        device: Where the tensors are to be.
    """
    shared = shared_tokens(rows)
    tails = [row.ids[shared:] for row in rows]
    lengths = tuple(map(len, tails))
    starts = [shared + sum(lengths[:index]) for index in range(len(rows))]
    # The shared tokens are a group like the rows where they are no more than those: one attention is cheaper than two.
    apart = shared > max(lengths)
    groups = [range(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    groups = groups if apart else [range(shared), *groups]
    width = max(map(len, groups))
    places = torch.tensor([[*group, *([max(0, group.start)] * (width - len(group)))] for group in groups])
    prefix = torch.arange(shared).expand(len(groups), shared)
    later = torch.ones(width, width, dtype=torch.bool).triu(1)
    hidden = torch.zeros(len(groups), width, shared + width, dtype=torch.bool)
    hidden[:, :, shared:] = later
    if shared and not apart:
        # The shared tokens see themselves among the first P and nothing else.
        hidden[0, :, shared:] = True
        hidden[0, :shared, :shared] = later[:shared, :shared]
    predicting: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for index, row in enumerate(rows):
        end = starts[index] + lengths[index]
        predicting += range(end - len(row.response) - 1, end - 1)
        targets += row.response
        owners += [index] * len(row.response)
    positions = [*range(shared), *(shared + place for length in lengths for place in range(length))]
    back = [group * width + place for group, each in enumerate(groups) for place in range(len(each))]
    ids = [*rows[0].ids[:shared], *(token for tail in tails for token in tail)]
    return Packed(
        torch.tensor([ids], device=device),
        torch.tensor([positions], device=device),
        shared,
        lengths,
        apart,
        places.to(device),
        torch.cat([prefix, places], dim=1).to(device),
        torch.zeros(hidden.shape).masked_fill(hidden, float("-inf")).to(device),
        torch.tensor(back, device=device),
        torch.tensor(predicting, device=device),
        torch.tensor(targets, device=device),
        torch.tensor(owners, device=device),
    )


_current: ContextVar[Packed] = ContextVar("packed")


@contextmanager
def packed_attention(model: nn.Module, packed: Packed) -> Iterator[None]:
    """Let the model's attention see ``packed`` rows as the rows they are, inside the block."""
    found: list[Any] = [module.config for module in model.modules() if hasattr(module, "config")]
    configs = {id(config): config for config in found}
    before = {key: getattr(config, "_attn_implementation", None) for key, config in configs.items()}
    token = _current.set(packed)
    try:
        for config in configs.values():
            config._attn_implementation = IMPLEMENTATION
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = before[key]
        _current.reset(token)


class NotPackable(Exception):
    """The model's attention is told something that packed attention does not know."""


def attend(  # noqa: PLR0917 (the order is that of transformers)
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Return what every token of the packed rows sees, [1, N, H, d], in the form of transformers' attention functions.

    Args:
        module: The attention layer; not looked at.
        query: [1, H, N, d].
        key: [1, G, N, d] for G groups of heads.
        value: [1, G, N, d].
        attention_mask: Not used: the packed rows bring their own.
        scaling: What scores are multiplied by; 1 / sqrt(d) where not given.
        **more: What else a family tells its attention.

    Raises:
        NotPackable: When that is something this function would have to heed.
    """
    packed = _current.get()
    _check(more)
    heads, shared_heads = query.shape[1], key.shape[1]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    groups, width = packed.places.shape
    q = _tokens(query, packed.places).view(groups, width, shared_heads, heads // shared_heads, -1)
    q = q.permute(0, 2, 3, 1, 4).reshape(groups * shared_heads, -1, query.shape[-1])  # [B G, H/G S, d]
    k, v = (
        _tokens(each, packed.seen).view(groups, -1, shared_heads, each.shape[-1]).transpose(1, 2).flatten(0, 1)
        for each in (key, value)
    )
    weights = _weights(torch.bmm(q * scale, k.transpose(1, 2)).view(groups, heads, width, -1), packed.mask, more)
    seen = torch.bmm(weights.to(v.dtype).view(groups * shared_heads, -1, weights.shape[-1]), v)
    seen = seen.view(groups, heads, width, -1).transpose(1, 2).reshape(groups * width, -1).index_select(0, packed.back)
    if packed.apart:
        seen = torch.cat([_shared_see(packed.shared, query, key, value, scale, more), seen])
    return seen.view(1, -1, heads, value.shape[-1]), None


def _weights(scores: Tensor, mask: Tensor, more: Mapping[str, Any]) -> Tensor:
    """Return the attention weights [G, H, S, T] of scores under the mask [G, S, T], in float32."""
    if cap := more.get("softcap"):
        scores = cap * torch.tanh(scores / cap)
    return (scores.float() + mask[:, None]).softmax(-1)


def _shared_see(  # noqa: PLR0917 (as attend)
    count: int, query: Tensor, key: Tensor, value: Tensor, scale: float, more: Mapping[str, Any]
) -> Tensor:
    """Return what each of the first ``count`` tokens sees of those before it and itself, [count, H d]."""
    heads, shared_heads = query.shape[1], key.shape[1]
    q = query[0, :, :count].reshape(shared_heads, -1, query.shape[-1])
    k, v = key[0, :, :count], value[0, :, :count]
    later = torch.ones(count, count, dtype=torch.bool, device=query.device).triu(1)
    mask = torch.zeros(1, count, count, device=query.device).masked_fill(later, float("-inf"))
    weights = _weights(torch.bmm(q * scale, k.transpose(1, 2)).view(1, heads, count, count), mask, more)
    seen = torch.bmm(weights.to(v.dtype).view(shared_heads, -1, count), v)
    return seen.view(heads, count, -1).transpose(0, 1).reshape(count, -1)


def _tokens(states: Tensor, places: Tensor) -> Tensor:
    """Return the states [1, H, N, d] of the tokens at ``places`` [B, S], as [B S, H d]."""
    return states[0].transpose(0, 1).flatten(1).index_select(0, places.flatten())


def _check(more: Mapping[str, Any]) -> None:
    if more.get("dropout"):
        raise NotPackable("its attention drops out")
    unknown = [name for name, value in more.items() if name not in _KNOWN and value is not None and value is not False]
    if unknown:
        raise NotPackable(f"its attention is told {', '.join(sorted(unknown))}")


AttentionInterface.register(IMPLEMENTATION, attend)
