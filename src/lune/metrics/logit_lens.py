"""Logit lens: how likely the answer is when each layer's hidden state is read out as if it were the last one's.

An answer that is gone from the output may still be written in the middle of the network (Patil et al., arXiv
2309.17410). For the hidden state h_l behind decoder layer l, at the last position of the prompt, the lens is

    p_l = softmax(head(norm(h_l)))

with the model's own final norm and output head (nostalgebraist 2020). The last layer's is the model's output. Whatever
a family puts behind its layers, such as scaling or soft capping of the logits, is kept: the collected states are put
in the place of the last layer's output in a second pass, over one token each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

import torch
from torch import nn

from lune.adapters import decoder_layers
from lune.batching import Batch, batches, last_positions
from lune.chat import ChatFormat, Encoded
from lune.models import SCORING_BATCH, LoadedModel
from lune.records import Probe

Tensor = torch.Tensor
_READ_AT_ONCE = 256  # hidden states read out together, each giving a row as wide as the vocabulary


class Reading(TypedDict):
    """One option at one layer: the probability of its first token and its rank, 1 being the likeliest of all tokens."""

    probability: float
    rank: int


class LayerReading(TypedDict):
    """What one layer says of the true answer and of each alternate."""

    layer: int
    answer: Reading
    alternates: dict[str, Reading]


def logit_lens(loaded: LoadedModel, probes: Sequence[Probe], *, leads: Sequence[str] = ()) -> list[list[LayerReading]]:
    """Return for each probe the reading of each decoder layer, from the first.

    Only the first token of an answer is looked at; alternates that begin with the same token as the answer get the same
    numbers.

    Args:
        loaded: The model, of any family whose decoder layers can be found.
        probes: Prompts with their true answer, ``expected[0]``, and ``alternates``.
        leads: How the model's reply begins up to the answer, one a probe, such as "The capital of France is"; the
            state read is then that behind the lead. Without, it is that behind the prompt.

    Raises:
        ModelError: When the model has no list of decoder layers.
    """
    layers = decoder_layers(loaded.model)[1]
    loaded.model.eval()
    starts = list(leads) or [""] * len(probes)
    contexts: list[Encoded] = []
    tokens: list[list[int]] = []
    for probe, lead in zip(probes, starts, strict=True):
        texts = (probe.expected[0], *probe.alternates)
        split = [_context_and_token(loaded.chat, probe.prompt, lead, text) for text in texts]
        contexts.append(Encoded(split[0][0]))
        tokens.append([token for _, token in split])
    readings: list[list[LayerReading]] = [[] for _ in probes]
    for batch in batches(contexts, SCORING_BATCH, loaded.pad_id, loaded.device, share=False):
        for layer, hidden in enumerate(_last_states(loaded.model, layers, batch)):
            log_p = _read_out(loaded.model, layers, hidden)
            for row, index in enumerate(batch.order):
                values = [_reading(log_p[row], token) for token in tokens[index]]
                alternates = dict(zip(probes[index].alternates, values[1:], strict=True))
                readings[index].append({"layer": layer, "answer": values[0], "alternates": alternates})
    return readings


def first_token(chat: ChatFormat, prompt: str, lead: str, text: str) -> int:
    """Return the token with which ``text`` begins behind a lead (empty for none), as ``logit_lens`` looks for it."""
    return _context_and_token(chat, prompt, lead, text)[1]


def _context_and_token(chat: ChatFormat, prompt: str, lead: str, text: str) -> tuple[tuple[int, ...], int]:
    """Return the tokens up to where ``text`` begins, and its first token."""
    whole = chat.encode(prompt, f"{lead} {text}" if lead else text)
    if not lead:
        return whole.prompt, whole.response[0]
    bare = chat.encode(prompt, lead).ids  # goes on with the end of turn where the other goes on with the text
    shared = 0
    while shared < min(len(bare), len(whole.ids)) and bare[shared] == whole.ids[shared]:
        shared += 1
    return whole.ids[:shared], whole.ids[shared]


@torch.no_grad()
def _last_states(model: Any, layers: nn.ModuleList, batch: Batch) -> list[Tensor]:
    """Return the hidden state behind each layer at the last position of each row, [B, D] a layer."""
    states: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        states.append(_hidden(output)[:, -1])

    with _hooks(layers, keep):
        model(
            input_ids=batch.ids,
            attention_mask=batch.full_mask,
            position_ids=batch.positions,
            use_cache=False,
            logits_to_keep=last_positions(batch.ids.shape[1], 1, batch.ids.device),
        )
    return states


@torch.no_grad()
def _read_out(model: Any, layers: nn.ModuleList, hidden: Tensor) -> Tensor:
    """Return log-probabilities [N, V] for hidden states [N, D], by all that the model does behind its last layer."""

    def replace(module: nn.Module, inputs: Any, output: Any) -> Any:
        state = part[:, None].to(_hidden(output).dtype)
        return (state, *output[1:]) if isinstance(output, tuple) else state

    parts = []
    with _hooks(layers[-1:], replace):
        for part in torch.split(hidden, _READ_AT_ONCE):
            ids = torch.zeros((len(part), 1), dtype=torch.long, device=part.device)
            parts.append(model(input_ids=ids, use_cache=False).logits[:, -1].float().log_softmax(-1))
    return torch.cat(parts)


def _reading(log_p: Tensor, token: int) -> Reading:
    own = log_p[token]
    return {"probability": float(own.exp()), "rank": int((log_p > own).sum()) + 1}


def _hidden(output: Any) -> Tensor:
    """Return the hidden state of a layer's output, which some families wrap in a tuple."""
    state: Tensor = output[0] if isinstance(output, tuple) else output
    return state


@contextmanager
def _hooks(modules: Sequence[nn.Module] | nn.ModuleList, hook: Callable[..., Any]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
