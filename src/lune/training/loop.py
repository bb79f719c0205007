"""The one training loop, on Accelerate: one process or many give the same adapter."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from peft import PeftModel

from lune.adapters import load_state, state, trained
from lune.errors import RunError
from lune.models import LoadedModel
from lune.records import History
from lune.settings import ForgetSettings
from lune.training.anchors import AnchorRow
from lune.training.pace import Pace
from lune.training.rows import NegativeRow
from lune.training.steering import DevScores, Steering
from lune.training.step import forward_backward
from lune.training.updates import Diverged, Updates

Tensor = torch.Tensor
Evaluate = Callable[[], DevScores]
Relapses = Callable[[], Sequence[NegativeRow]]
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
    relapses: Relapses = list,
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
        relapses: Returns new negatives for what the adapter as it stands on ``trainee`` still gives away; called after
            ``evaluate`` when another pass follows.
        report: Called with every new history row.
        history: Receives one row a step and one an evaluation.

    Raises:
        RunError: When the loss is not finite before any adapter was evaluated.
        KeyboardInterrupt: When the user stopped it before the first step was done.
    """
    model: PeftModel = trainee.model
    parameters = trained(model)
    updates = Updates(
        parameters,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup=settings.warmup,
        max_grad_norm=settings.max_grad_norm,
    )
    steering = Steering(settings.max_utility_drop, paced=settings.release > 0)
    chooser = random.Random(settings.seed)
    anchor_stream = _endless(anchors, chooser)
    pace = Pace(len(negatives), settings.release, chooser)
    step, begun, seconds, stopped, interrupted = 0, 0, 0.0, "all passes done", False

    def add(row: dict[str, float | int | str]) -> None:
        history.rows.append(row)
        report(row)

    try:
        for begun in range(1, settings.passes + 1):
            order = pace.next_pass()
            if not order:
                stopped = "the true answer is unlikely in every training prompt"
                break
            for start in range(0, len(order), settings.batch_size):
                began = time.perf_counter()
                places = order[start : start + settings.batch_size]
                rows = [negatives[place] for place in places]
                held = [next(anchor_stream) for _ in rows] if settings.anchor_weight and anchors else []
                result = forward_backward(trainee, rows, held, settings, accelerator=accelerator, parameters=parameters)
                pace.note(places, result.told)
                rate = updates.step((begun - 1 + (start + len(places) / 2) / len(order)) / settings.passes)
                step += 1
                seconds += time.perf_counter() - began
                add({"step": step, "pass": begun, **result.losses, "learning_rate": rate})
            scores = evaluate()
            steering.record(step, scores, state(model))
            add(_evaluation_row(step, begun, scores))
            reason = steering.reason_to_stop(scores)
            if reason and (settings.early_stop or reason.startswith("collapse")):
                stopped = reason
                break
            if begun < settings.passes:
                fresh = relapses()
                negatives = [*negatives, *fresh]
                pace.add(len(fresh))
    except KeyboardInterrupt:
        if step == 0:
            raise  # an adapter that was never moved is nothing to keep
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
