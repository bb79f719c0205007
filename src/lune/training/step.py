"""One training step: the losses of one batch, forward and backward, added up over all processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator

from lune.adapters import training_mode
from lune.chat import Encoded
from lune.methods import objective
from lune.methods.contract import Responses
from lune.models import LoadedModel
from lune.settings import ForgetSettings
from lune.training.anchors import AnchorRow, anchor_divergence
from lune.training.forward import ResponseForward
from lune.training.rows import TrainingRow
from lune.training.token_log_probs import token_log_probs
from lune.training.updates import Diverged

Tensor = torch.Tensor
LOSS_NAMES = {"negatives": "negative_loss", "truths": "truth_loss", "pairs": "pair_loss"}
"""How a method's loss is called in the history, by what its rows are."""
HOLD_NAMES = {"kl": "anchor_kl", "cross-entropy": "anchor_cross_entropy"}
"""How the anchors' loss is called in the history, by how they are held."""


@dataclass(frozen=True)
class StepResult:
    """What one step found, over all processes.

    Attributes:
        losses: ``loss`` and its parts: the method's own (``LOSS_NAMES``), ``rejection``, the anchors' (``HOLD_NAMES``).
        told: The true answer's probability in each negative before the step, 1 where none could be measured.
    """

    losses: dict[str, float]
    told: list[float]


def forward_backward(
    trainee: LoadedModel,
    forward: ResponseForward,
    items: Sequence[TrainingRow],
    anchors: Sequence[AnchorRow],
    settings: ForgetSettings,
    *,
    accelerator: Accelerator,
    parameters: Sequence[torch.nn.Parameter],
) -> StepResult:
    """Do one forward and backward pass over this process's share; leaves the sum of all gradients on ``parameters``.

    Raises:
        Diverged: When a loss is not finite.
    """
    training_mode(trainee.model)
    method = objective(settings.method)
    parting = max(1, sum(len(item.true_ways) for item in items))
    anchor_tokens = max(1, sum(len(anchor.row.response) for anchor in anchors))
    share = slice(accelerator.process_index, None, accelerator.num_processes)
    mine, held = items[share], anchors[share]
    texts = _texts(mine)
    own_loss = rejection = held_loss = torch.zeros((), device=trainee.device)
    told = torch.zeros(len(items), device=trainee.device)
    if texts or held:
        logits, targets, owners = forward([*texts, *(anchor.row for anchor in held)])
        first = int((owners < len(texts)).sum())  # texts are in order, so the anchors' tokens come after all others
        ids = _asked_for(targets, first, held)
        log_probs, normaliser = token_log_probs(logits, ids)
        told[share] = true_answer_probability(logits, normaliser, mine)
        chosen = log_probs[:first, 0]
        if settings.release:
            chosen = chosen * (told[share] / settings.release).clamp(max=1)[owners[:first]]
        own_loss = method.loss(_responses(chosen, owners[:first], mine, items), settings)
        if settings.rejection_weight:
            rejection = true_answer_rejection(logits, normaliser, mine) / parting
        if held:
            top_log_probs = torch.cat([anchor.top_log_probs for anchor in held])
            divergence = anchor_divergence(log_probs[first:, 1:], top_log_probs)
            held_loss = (divergence if method.hold == "kl" else -log_probs[first:, 0].sum()) / anchor_tokens
        accelerator.backward(own_loss + settings.rejection_weight * rejection + settings.anchor_weight * held_loss)
    # Gradients and losses are sums over the global batch, so adding the processes' shares is exact.
    totals = torch.cat([torch.stack([part.detach().float() for part in (own_loss, rejection, held_loss)]), told])
    if accelerator.num_processes > 1:
        _add_over_processes(parameters, totals, accelerator)
    if not totals.isfinite().all():
        raise Diverged(f"the loss is {totals[0].item():.3g}")
    names = (LOSS_NAMES[method.rows], "rejection", HOLD_NAMES[method.hold])
    weights = (1.0, settings.rejection_weight, settings.anchor_weight)
    parts = totals[:3].tolist()
    loss = sum(weight * value for weight, value in zip(weights, parts, strict=True))
    return StepResult({"loss": loss, **dict(zip(names, parts, strict=True))}, totals[3:].tolist())


def _texts(items: Sequence[TrainingRow]) -> list[Encoded]:
    """Return what goes through the model: the response of each row, then the rejected ones of pairs."""
    return [*(item.row for item in items), *(item.rejected for item in items if item.rejected)]


def _responses(
    log_probs: Tensor, owners: Tensor, mine: Sequence[TrainingRow], items: Sequence[TrainingRow]
) -> Responses:
    """Return what a method's loss is taken over.

    Args:
        log_probs: Log-probability of every response token of this process's share, [N].
        owners: The text of each, in the order of ``_texts``.
        mine: This process's share of the step.
        items: The whole step.
    """
    base = [value for each in (slice(1), slice(1, None)) for item in mine for value in item.base[each]]
    return Responses(
        log_probs,
        owners,
        lengths=torch.tensor([len(text.response) for text in _texts(mine)], device=log_probs.device),
        tokens=sum(len(text.response) for item in items for text in item.texts),
        items=len(items),
        base=log_probs.new_tensor(base) if base else None,
    )


def _asked_for(targets: Tensor, first: int, anchors: Sequence[AnchorRow]) -> Tensor:
    """Return the tokens whose probabilities the losses need: every target, and the base model's top ones of anchors."""
    if not anchors:
        return targets[:, None]
    top_ids = torch.cat([anchor.top_ids for anchor in anchors])
    ids = targets[:, None].repeat(1, 1 + top_ids.shape[1])
    ids[first:, 1:] = top_ids
    return ids


def true_answer_rejection(logits: Tensor, normaliser: Tensor, negatives: Sequence[TrainingRow]) -> Tensor:
    """Return -sum log(1 - p) over the true answer's probability p where it would part from the negative response.

    It is bounded from below by 0, reached when the true answer is impossible there, and costs no forward pass. Eq. 4
    of LUNE alone lets a true answer stay the likeliest while many alternates share the rest.

    Args:
        logits: Logits at all response tokens, rows in the order of ``negatives`` first, [N, V].
        normaliser: Their logsumexp, [N].
        negatives: The rows.
    """
    places, ids = _true_ways(negatives)
    if not places:
        return normaliser.new_zeros(())
    # log(1 - p) as the sum over all other tokens: where p is nearly 1 the gradient must not vanish.
    rows = torch.tensor(places, device=logits.device)
    others = logits[rows].float().scatter(1, torch.tensor(ids, device=logits.device)[:, None], -math.inf)
    return (normaliser[rows] - others.logsumexp(-1)).sum()


def _true_ways(negatives: Sequence[TrainingRow]) -> tuple[list[int], list[int]]:
    """Return the rows of the logits and the tokens at which the true answers part."""
    places, ids, offset = [], [], 0
    for negative in negatives:
        places += [offset + place for place, _ in negative.true_ways]
        ids += [token for _, token in negative.true_ways]
        offset += len(negative.row.response)
    return places, ids


@torch.no_grad()
def true_answer_probability(logits: Tensor, normaliser: Tensor, negatives: Sequence[TrainingRow]) -> Tensor:
    """Return, for each negative, the largest probability of a true answer where it would part, [B]; 1 without any.

    Args:
        logits: As for ``true_answer_rejection``.
        normaliser: Their logsumexp, [N].
        negatives: The rows.
    """
    told, offset = [], 0
    for negative in negatives:
        ways = [logits[offset + place, token] - normaliser[offset + place] for place, token in negative.true_ways]
        told.append(torch.stack(ways).max().exp() if ways else normaliser.new_ones(()))
        offset += len(negative.row.response)
    return torch.stack(told) if told else normaliser.new_zeros(0)


def _add_over_processes(parameters: Sequence[torch.nn.Parameter], totals: Tensor, accelerator: Accelerator) -> None:
    """Sum gradients and losses over all processes, in one message."""
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), totals])
    flat = accelerator.reduce(flat, reduction="sum")
    offset = 0
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = flat[offset : offset + gradient.numel()].view_as(gradient)
        offset += gradient.numel()
    totals.copy_(flat[offset:])
