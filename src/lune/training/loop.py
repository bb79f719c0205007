"""The one training loop, on Accelerate: one process or many give the same adapter."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from peft import PeftModel

from lune.adapters import load_state, state, trained, training_mode
from lune.batching import make_batch, response_logits
from lune.errors import RunError
from lune.methods import objective
from lune.models import LoadedModel
from lune.records import History
from lune.settings import ForgetSettings
from lune.training.anchors import AnchorRow, anchor_divergence
from lune.training.rows import NegativeRow
from lune.training.steering import DevScores, Steering
from lune.training.updates import Diverged, Updates

Tensor = torch.Tensor
HINGE = float(__import__("os").environ.get("LUNE_HINGE", "0"))
Evaluate = Callable[[], DevScores]
Report = Callable[[dict[str, float | int | str]], None]


@dataclass(frozen=True)
class TrainingOutcome:
    """How training went.

    Attributes:
        steps: Steps done.
        passes: Passes over the negatives begun.
        best_step: The step whose adapter was kept.
        best: Its dev scores, None when nothing was evaluated.
        stopped: Why training ended, in words.
        interrupted: Whether the user stopped it.
        seconds: Time in training steps, evaluations not counted.
    """

    steps: int
    passes: int
    best_step: int
    best: DevScores | None
    stopped: str
    interrupted: bool
    seconds: float


def train(
    trainee: LoadedModel,
    negatives: Sequence[NegativeRow],
    anchors: Sequence[AnchorRow],
    settings: ForgetSettings,
    *,
    accelerator: Accelerator,
    evaluate: Evaluate,
    report: Report,
    history: History,
) -> TrainingOutcome:
    """Train the adapter on ``trainee`` and leave it with the best adapter found on the dev probes.

    Args:
        trainee: The model with a fresh adapter, in the precision to train in.
        negatives: Negative examples (x, y-), encoded.
        anchors: What is held by KL to the base model; may be empty.
        settings: Learning rate, passes, batch size and so on.
        accelerator: Processes and devices; every process must call this with the same arguments.
        evaluate: Returns the dev scores of the adapter as it stands on ``trainee``.
        report: Called with every new history row.
        history: Receives one row a step and one an evaluation.

    Raises:
        RunError: When the loss is not finite before any adapter was evaluated.
    """
    model: PeftModel = trainee.model
    parameters = trained(model)
    steps_a_pass = math.ceil(len(negatives) / settings.batch_size)
    total = steps_a_pass * settings.passes
    updates = Updates(
        parameters,
        total=total,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup=settings.warmup,
        max_grad_norm=settings.max_grad_norm,
    )
    steering = Steering(settings.max_utility_drop)
    chooser = random.Random(settings.seed)
    anchor_stream = _endless(anchors, chooser)
    step, begun, seconds, stopped, interrupted = 0, 0, 0.0, "all passes done", False

    def add(row: dict[str, float | int | str]) -> None:
        history.rows.append(row)
        report(row)

    try:
        for begun in range(1, settings.passes + 1):
            order = chooser.sample(range(len(negatives)), len(negatives))
            for start in range(0, len(order), settings.batch_size):
                began = time.perf_counter()
                rows = [negatives[index] for index in order[start : start + settings.batch_size]]
                held = [next(anchor_stream) for _ in rows] if settings.anchor_weight and anchors else []
                losses = _step(trainee, rows, held, settings, accelerator=accelerator, parameters=parameters)
                rate = updates.step()
                step += 1
                seconds += time.perf_counter() - began
                add({"step": step, "pass": begun, **losses, "learning_rate": rate})
            scores = evaluate()
            steering.record(step, scores, state(model))
            add(_evaluation_row(step, begun, scores))
            reason = steering.reason_to_stop(scores)
            if reason and (settings.early_stop or reason.startswith("collapse")):
                stopped = reason
                break
    except KeyboardInterrupt:
        stopped, interrupted = "interrupted by the user", True
    except Diverged as error:
        if steering.best is None:
            raise RunError(
                f"Training diverged at step {step + 1}: {error}; no earlier adapter exists.",
                hint=f"lower --learning-rate (now {settings.learning_rate:g}) or --anchor-weight",
            ) from None
        stopped = f"diverged at step {step + 1}; the last good adapter was kept"
    if steering.best is not None:
        load_state(model, steering.best)
    best_step = steering.best_step or step
    return TrainingOutcome(step, begun, best_step, steering.best_scores, stopped, interrupted, seconds)


def _step(
    trainee: LoadedModel,
    negatives: Sequence[NegativeRow],
    anchors: Sequence[AnchorRow],
    settings: ForgetSettings,
    *,
    accelerator: Accelerator,
    parameters: Sequence[torch.nn.Parameter],
) -> dict[str, float]:
    """Do one forward and backward pass over this process's share and return the losses over all processes."""
    training_mode(trainee.model)
    tokens = sum(len(negative.row.response) for negative in negatives)
    parting = max(1, sum(len(negative.true_ways) for negative in negatives))
    anchor_tokens = max(1, sum(len(anchor.row.response) for anchor in anchors))
    mine = negatives[accelerator.process_index :: accelerator.num_processes]
    held = anchors[accelerator.process_index :: accelerator.num_processes]
    rows = [*(negative.row for negative in mine), *(anchor.row for anchor in held)]
    negative_loss = rejection = kl = torch.zeros((), device=trainee.device)
    if rows:
        batch = make_batch(rows, list(range(len(rows))), trainee.pad_id, trainee.device)
        logits, targets, owners = response_logits(trainee.model, batch, config=trainee.model.config)
        log_p = logits.float().log_softmax(-1)
        is_negative = owners < len(mine)
        chosen = log_p.gather(-1, targets[:, None])[:, 0][is_negative]
        if HINGE:
            chosen = chosen * still_told(log_p, mine)
        negative_loss = objective(settings.method)(chosen, tokens)
        if settings.rejection_weight:
            rejection = true_answer_rejection(log_p, mine) / parting
        if held:
            top_ids = torch.cat([anchor.top_ids for anchor in held])
            top_log_probs = torch.cat([anchor.top_log_probs for anchor in held])
            kl = anchor_divergence(log_p[~is_negative], top_ids, top_log_probs) / anchor_tokens
        accelerator.backward(negative_loss + settings.rejection_weight * rejection + settings.anchor_weight * kl)
    # Gradients and losses are sums over the global batch, so adding the processes' shares is exact.
    totals = torch.stack([part.detach().float() for part in (negative_loss, rejection, kl)])
    if accelerator.num_processes > 1:
        _add_over_processes(parameters, totals, accelerator)
    if not totals.isfinite().all():
        raise Diverged(f"the loss is {totals[0].item():.3g}")
    parts = dict(zip(("negative_loss", "rejection", "anchor_kl"), totals.tolist(), strict=True))
    weights = {"negative_loss": 1.0, "rejection": settings.rejection_weight, "anchor_kl": settings.anchor_weight}
    return {"loss": sum(weights[name] * value for name, value in parts.items()), **parts}


def true_answer_rejection(log_p: Tensor, negatives: Sequence[NegativeRow]) -> Tensor:
    """Return -sum log(1 - p) over the true answer's probability p where it would part from the negative response.

    It is bounded from below by 0, reached when the true answer is impossible there, and costs no forward pass. Eq. 4
    of LUNE alone lets a true answer stay the likeliest while many alternates share the rest.

    Args:
        log_p: Log-probabilities at all response tokens, rows in the order of ``negatives`` first, [N, V].
        negatives: The rows.
    """
    places, ids = _true_ways(negatives)
    if not places:
        return log_p.new_zeros(())
    # log(1 - p) as the sum over all other tokens: where p is nearly 1 the gradient must not vanish.
    others = log_p[places].scatter(1, torch.tensor(ids, device=log_p.device)[:, None], -math.inf)
    return -others.logsumexp(-1).sum()


def _true_ways(negatives: Sequence[NegativeRow]) -> tuple[list[int], list[int]]:
    """Return the rows of the log-probabilities and the tokens at which the true answers part."""
    places, ids, offset = [], [], 0
    for negative in negatives:
        places += [offset + place for place, _ in negative.true_ways]
        ids += [token for _, token in negative.true_ways]
        offset += len(negative.row.response)
    return places, ids


def still_told(log_p: Tensor, negatives: Sequence[NegativeRow]) -> Tensor:
    """Return by how much each response token is still pushed, [N]: less and less once the true answer is unlikely.

    A negative whose true answer has a probability below ``HINGE`` has done its work, and more of it would only carry
    over to other facts.
    """
    weights, offset = [], 0
    for negative in negatives:
        places, ids = _true_ways([negative])
        told = [log_p[offset + place, token].detach().exp() for place, token in zip(places, ids, strict=True)]
        weight = (torch.stack(told).max() / HINGE).clamp(max=1) if told else log_p.new_ones(())
        weights.append(weight.expand(len(negative.row.response)))
        offset += len(negative.row.response)
    return torch.cat(weights)


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


def _endless(anchors: Sequence[AnchorRow], chooser: random.Random) -> Iterator[AnchorRow]:
    while anchors:
        yield from chooser.sample(anchors, len(anchors))


def _evaluation_row(step: int, begun: int, scores: DevScores) -> dict[str, float | int | str]:
    return {
        "step": step,
        "pass": begun,
        "dev_usr": scores.usr,
        "dev_apr": scores.apr,
        "dev_gur": scores.gur,
        "dev_gur_neighbour": scores.gur_neighbour,
        "dev_gur_general": scores.gur_general,
        "dev_degenerate": scores.degenerate,
    }
