"""Closed-form edits in the manner of MEMIT, written as an ordinary adapter: A the subjects' keys, B their values.

MEMIT (arXiv 2210.07229) looks for a vector delta at the subject's last token, in the output of the last edited layer,
under which the model gives the new answer, and spreads it over the layers: each writes its part of what is still
missing, divided by how many layers are left, with the closed-form update R K^T (C + K K^T)^-1. Here K^T (C + K K^T)^-1
is the keyed adapter's A (``lune.keys``), whose rows answer 1 to their own subject, so that B is R.

What differs from MEMIT: the new answer is one of the request's checked alternates; the values are looked for in the
training prompts and not behind random prefixes; the layers are those of keyed adapters and not chosen by causal
tracing; and there is no KL term on what the subject is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from lune.adapters import adapted_layers, decoder_layers, trained
from lune.batching import Batch, batches, response_logits
from lune.chat import Encoded
from lune.errors import ConfigError, ModelError
from lune.keys import key_context
from lune.models import SCORING_BATCH, LoadedModel
from lune.negatives.truths import responses_with
from lune.preparation import Prepared
from lune.settings import ForgetSettings
from lune.training.token_log_probs import token_log_probs

Tensor = torch.Tensor
LARGEST = 0.75
"""Largest norm of a delta, as a share of the hidden state's (clamp_norm_factor of MEMIT's settings for GPT-J)."""
PROBED = 0.1
"""What is added to see whether it arrives, as a share of the hidden state's norm: far above what bfloat16 rounds."""
DECAY = 0.5
"""Weight of |delta| / |hidden state|^2 in the search (v_weight_decay of the same)."""

Row = dict[str, float | int | str]


@dataclass(frozen=True)
class EditRow:
    """A prompt with the new answer.

    Attributes:
        subject: The subject's place among the adapter's keys.
        text: Prompt and response.
        position: Where the subject's last token stands in it.
    """

    subject: int
    text: Encoded
    position: int


def edit_rows(trainee: LoadedModel, prepared: Prepared, subjects: Sequence[str]) -> list[EditRow]:
    """Return each training prompt that asks for an answer and names its subject, with its fact's first alternate.

    Args:
        trainee: Reads the prompts.
        prepared: The negatives and their alternates.
        subjects: The subjects, in the order of the adapter's keys.
    """
    facts = {fact.id: fact for fact in prepared.trained}
    # A prompt that offers the true answer beside some other alternate is no place for this one.
    asked = {
        (each.fact_id, each.prompt): each
        for each in prepared.made.negatives
        if each.expects == "answer" and each.form != "choice"
    }
    negatives = list(asked.values())
    responses = responses_with(negatives, facts, lambda each: prepared.made.alternates[each.fact_id][0])
    rows = []
    for negative, response in zip(negatives, responses, strict=True):
        subject = str(facts[negative.fact_id].subject)
        context = key_context(trainee, subject, negative.prompt)
        if context and subject in subjects:
            text = trainee.chat.encode(negative.prompt, response)
            rows.append(EditRow(subjects.index(subject), text, context.position))
    return rows


def write_edit(
    trainee: LoadedModel,
    rows: Sequence[EditRow],
    settings: ForgetSettings,
    *,
    report: Callable[[Row], None],
) -> None:
    """Write the values of ``rows`` into the B of the keyed adapter on ``trainee``.

    Args:
        trainee: The model with a fresh keyed adapter.
        rows: What is to be answered, at least one.
        settings: ``passes`` steps of Adam at ``learning_rate`` look for the values.
        report: Called with a history row a step.

    Raises:
        ConfigError: When the model's last layer is among the edited (``refuse_last_layer``).
        ModelError: When the layers do not add to their output what their feed-forward part writes.
    """
    edited = adapted_layers(trainee.model)
    refuse_last_layer(edited, len(decoder_layers(trainee.model)[1]))
    trainee.model.eval()
    values = trained(trainee.model)
    for value in values:
        value.requires_grad_(False)  # the search asks for gradients of the deltas alone
    last = decoder_layers(trainee.model)[1][max(edited)]
    with _Places(last) as places:
        count = 1 + max(row.subject for row in rows)
        layers = [module for module in trainee.model.modules() if isinstance(module, LoraLayer)]
        _refuse_changed_writes(trainee, rows, places, layers[-1])
        before = _states(trainee, rows, places, count)
        deltas = _search(trainee, rows, places, before, settings=settings, report=report)
        for number, layer in enumerate(layers):
            missing = before + deltas - _states(trainee, rows, places, count)
            weight: Any = layer.lora_B["default"].weight
            weight.data[:, :count] = (missing / (len(layers) - number)).T.to(weight)
    for value in values:
        value.requires_grad_(True)


def refuse_last_layer(edited: Sequence[int], total: int) -> None:
    """Refuse an edit that reaches a model's last layer: what is written there at a subject is read by no later token.

    Args:
        edited: The layers to edit.
        total: How many the model has.

    Raises:
        ConfigError: When the last one is among them.
    """
    if max(edited) == total - 1:
        raise ConfigError(
            f"--layers: an edit of layer {max(edited)}, the model's last, reaches no answer.",
            hint=f"--layers with a last layer of at most {total - 2}" if total > 1 else "use another method",
        )


def _refuse_changed_writes(trainee: LoadedModel, rows: Sequence[EditRow], places: _Places, written: Any) -> None:
    """Refuse a model whose last edited layer norms or scales what its down-projection writes: B would write otherwise.

    Found out by adding something to the down-projection's output at one place and looking what arrives.

    Raises:
        ModelError: When something else arrives.
    """
    batch, _, columns = next(_batches(trainee, rows[:1], 1))
    place = (torch.arange(1, device=trainee.device), columns)

    def state() -> Tensor:
        places.at(columns)
        with torch.no_grad():
            response_logits(trainee.model, batch, config=trainee.model.config)
        return places.found

    before = state()
    noise = torch.randn(before.shape, generator=torch.Generator().manual_seed(0)).to(before.device)
    added = noise * (PROBED * before.norm() / noise.norm())
    handle = written.register_forward_hook(
        lambda _module, _arguments, output: output.index_put(place, added.to(output.dtype), accumulate=True)
    )
    try:
        arrived = state() - before
    finally:
        handle.remove()
    if (arrived - added).norm() > added.norm() / 2:
        raise ModelError(
            f"{type(trainee.model.base_model.model).__name__} changes what a feed-forward part writes before it adds "
            "it, so its layers cannot be edited in closed form.",
            hint="use another method; `lune ls methods` lists them",
        )


class _Places:
    """Reads a layer's output at the subjects' places, and adds to it there.

    Attributes:
        found: What stood at each row's place in the last pass, [B, D], in float32, before anything was added.
    """

    def __init__(self, layer: torch.nn.Module) -> None:
        self._layer = layer
        self._columns = torch.empty(0, dtype=torch.long)
        self._added: Tensor | None = None
        self.found = torch.empty(0)

    def __enter__(self) -> _Places:
        """Begin to listen to the layer."""
        self._handle = self._layer.register_forward_hook(self._hook)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the layer as it was."""
        self._handle.remove()

    def at(self, columns: Tensor, added: Tensor | None = None) -> None:
        """Say where the next pass is read, [B], and what is added there, [B, D]."""
        self._columns, self._added = columns, added

    def _hook(self, _module: torch.nn.Module, _arguments: Any, output: Any) -> Any:
        state: Tensor = output[0] if isinstance(output, tuple) else output
        place = (torch.arange(len(state), device=state.device), self._columns)
        self.found = state.detach()[place].float()
        if self._added is None:
            return None
        state = state.index_put(place, self._added.to(state.dtype), accumulate=True)
        return (state, *output[1:]) if isinstance(output, tuple) else state


def _batches(trainee: LoadedModel, rows: Sequence[EditRow], size: int) -> Iterator[tuple[Batch, list[EditRow], Tensor]]:
    """Yield batches with nothing shared, their rows in order, and the column of each row's place."""
    for batch in batches([row.text for row in rows], size, trainee.pad_id, trainee.device, share=False):
        chosen = [rows[index] for index in batch.order]
        width = batch.ids.shape[1]
        columns = [width - len(row.text.ids) + row.position for row in chosen]
        yield batch, chosen, torch.tensor(columns, device=trainee.device)


@torch.no_grad()
def _states(trainee: LoadedModel, rows: Sequence[EditRow], places: _Places, count: int) -> Tensor:
    """Return the mean output of the last edited layer at each subject's places, [S, D], in float32."""
    sums = counts = torch.zeros(count, 1, device=trainee.device)
    for batch, chosen, columns in _batches(trainee, rows, SCORING_BATCH):
        places.at(columns)
        response_logits(trainee.model, batch, config=trainee.model.config)
        owners = torch.nn.functional.one_hot(torch.tensor([row.subject for row in chosen]), count)
        belongs = owners.T.to(places.found)
        sums, counts = sums + belongs @ places.found, counts + belongs.sum(1, keepdim=True)
    return sums / counts.clamp(min=1)


def _search(
    trainee: LoadedModel,
    rows: Sequence[EditRow],
    places: _Places,
    before: Tensor,
    *,
    settings: ForgetSettings,
    report: Callable[[Row], None],
) -> Tensor:
    """Return delta [S, D]: what must be added at each subject's places for its rows' responses to become likely."""
    deltas = torch.zeros_like(before, requires_grad=True)
    optimiser = torch.optim.Adam([deltas], lr=settings.learning_rate)
    norms = before.norm(dim=1)
    frequency = torch.bincount(torch.tensor([row.subject for row in rows]), minlength=len(before))
    for step in range(1, settings.passes + 1):
        loss = 0.0
        for batch, chosen, columns in _batches(trainee, rows, settings.batch_size):
            subjects = torch.tensor([row.subject for row in chosen], device=trainee.device)
            places.at(columns, deltas[subjects])
            logits, targets, owners = response_logits(trainee.model, batch, config=trainee.model.config)
            log_probs = token_log_probs(logits, targets[:, None])[0][:, 0]
            means = log_probs.new_zeros(len(chosen)).index_add(0, owners, log_probs) / batch.responses
            part = -(means / frequency.to(means)[subjects]).sum()
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.item()
        decay = (DECAY * deltas.norm(dim=1) / norms.square().clamp(min=1e-6)).sum()
        decay.backward()
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            share = (LARGEST * norms / deltas.norm(dim=1).clamp(min=1e-6)).clamp(max=1)
            deltas *= share[:, None]
        report({"step": step, "pass": 1, "loss": loss + decay.item(), "learning_rate": settings.learning_rate})
    return deltas.detach()
