"""The one training loop, on Accelerate: one process or many give the same adapter."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from accelerate import Accelerator
from peft import PeftModel

from lune.adapters import adapted_layers, load_state, state, trained
from lune.errors import RunError
from lune.models import LoadedModel
from lune.records import History
from lune.settings import ForgetSettings
from lune.training.anchors import AnchorRow
from lune.training.forward import ResponseForward
from lune.training.pace import Pace
from lune.training.rows import TrainingRow
from lune.training.steering import DevScores, Steering
from lune.training.step import forward_backward
from lune.training.updates import Diverged, Updates, rate_factor

Evaluate = Callable[[], DevScores]
Relapses = Callable[[Sequence[int]], Sequence[TrainingRow]]
LITTLE = 0.02
"""A pass whose rates add up to less than this share of all before is not worth its evaluation."""
Row = dict[str, float | int | str]
Report = Callable[[Row], None]


@dataclass(frozen=True)
class TrainingOutcome:
    """How training went.

    Attributes:
        steps: Steps done.
        passes: Whole passes over the training rows.
        best_step: The step whose adapter was kept.
        best: Its dev scores, None when nothing was evaluated.
        stopped: Why training ended, in words.
        interrupted: Whether the user stopped it.
        seconds: Time in training steps, evaluations not counted.
        plain_because: Why batches took the plain padded pass, in words; empty where they did not.
        frozen_layers: How many layers below the lowest adapted one were run once a text.
        kept_mb: Size of what was kept of these layers, in memory and on disk, in units of 10^6 bytes.
    """

    steps: int
    passes: int
    best_step: int
    best: DevScores | None
    stopped: str
    interrupted: bool
    seconds: float
    plain_because: str
    frozen_layers: int
    kept_mb: float


def train(
    trainee: LoadedModel,
    items: Sequence[TrainingRow],
    anchors: Sequence[AnchorRow],
    settings: ForgetSettings,
    *,
    accelerator: Accelerator,
    evaluate: Evaluate,
    relapses: Relapses | None = None,
    report: Report,
    history: History,
) -> TrainingOutcome:
    """Train the adapter on ``trainee`` and leave it with the best adapter found on the dev probes.

    Args:
        trainee: The model with a fresh adapter, in the precision to train in.
        items: What the method trains on, in the order of the negative examples they come from.
        anchors: What is held by KL to the base model; may be empty.
        settings: Learning rate, passes, batch size and so on.
        accelerator: Processes and devices; every process must call this with the same arguments.
        evaluate: Returns the dev scores of the adapter as it stands on ``trainee``.
        relapses: Returns new negatives for what the adapter as it stands on ``trainee`` still gives away, given the
            places of the negatives whose true answer was still likely when last seen; called after ``evaluate`` when
            another pass follows.
        report: Called with every new history row.
        history: Receives one row a step and one an evaluation.

    Raises:
        RunError: When the loss is not finite, or answers collapse, before any better adapter was evaluated.
        KeyboardInterrupt: When the user stopped it before the first step was done.
    """
    model: PeftModel = trainee.model
    passes = _Passes(trainee, items, anchors, settings, accelerator)
    steering = Steering(settings.max_utility_drop, paced=relapses is not None)
    done, stopped, interrupted = 0, "all passes done", False

    def add(row: Row) -> None:
        history.rows.append(row)
        report(row)

    try:
        for number in range(1, settings.passes + 1):
            if idle := passes.go_over(number, add):
                stopped = idle
                break
            done = number
            scores = evaluate()
            steering.record(passes.step, scores, state(model))
            add({"step": passes.step, "pass": number, **scores.as_row()})
            reason = steering.reason_to_stop(scores)
            if reason and (settings.early_stop or reason.startswith("collapse")):
                stopped = reason
                break
            if relapses and number < settings.passes:
                passes.take(relapses(passes.pace.unfinished()))
    except KeyboardInterrupt:
        if passes.step == 0:
            raise  # an adapter that was never moved is nothing to keep
        stopped, interrupted = "interrupted by the user", True
    except Diverged as error:
        if steering.best is None:
            raise RunError(
                f"Training diverged at step {passes.step + 1}: {error}; no earlier adapter exists.",
                hint=f"lower --learning-rate (now {settings.learning_rate:g}) or --anchor-weight",
            ) from None
        stopped = f"diverged at step {passes.step + 1}; the last good adapter was kept"
    finally:
        passes.close()
    if steering.best is not None:
        load_state(model, steering.best)
    elif stopped.startswith("collapse"):
        raise RunError(
            f"Training ended in a {stopped}; no better adapter exists.",
            hint=f"lower --learning-rate (now {settings.learning_rate:g}) or raise --anchor-weight",
        )
    return passes.outcome(done, steering, stopped, interrupted=interrupted)


class _Passes:
    """Passes over the training rows, with as many anchors beside them.

    Attributes:
        forward: The forward pass.
        pace: Which rows each pass takes.
        step: Steps done.
        seconds: Time they took.
    """

    def __init__(
        self,
        trainee: LoadedModel,
        items: Sequence[TrainingRow],
        anchors: Sequence[AnchorRow],
        settings: ForgetSettings,
        accelerator: Accelerator,
    ) -> None:
        self._trainee = trainee
        self._items = list(items)
        self._settings = settings
        self._accelerator = accelerator
        self._parameters = trained(trainee.model)
        self.forward = ResponseForward(
            trainee,
            min(adapted_layers(trainee.model), default=0),
            settings.prefix_cache_mb,
            recompute=settings.recompute,
        )
        self._updates = Updates(
            self._parameters,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup=settings.warmup,
            max_grad_norm=settings.max_grad_norm,
        )
        chooser = random.Random(settings.seed)
        self._anchors = _endless(anchors if settings.anchor_weight else (), chooser)
        self.pace = Pace(len(items), settings.release, chooser)
        self.step = 0
        self.seconds = 0.0
        self._reached = 0.0
        self._kept_mb = 0.0

    def close(self) -> None:
        """Let go of what is kept for the passes to come."""
        self._kept_mb = self.forward.close()

    def outcome(self, done: int, steering: Steering, stopped: str, *, interrupted: bool) -> TrainingOutcome:
        """Return how training went, after ``close``."""
        return TrainingOutcome(
            steps=self.step,
            passes=done,
            best_step=steering.best_step or self.step,
            best=steering.best_scores,
            stopped=stopped,
            interrupted=interrupted,
            seconds=self.seconds,
            plain_because=self.forward.plain_because,
            frozen_layers=0 if self.forward.plain_because else self.forward.frozen.count,
            kept_mb=self._kept_mb,
        )

    def take(self, more: Sequence[TrainingRow]) -> None:
        """Take more negatives in for the passes to come."""
        self._items += more
        self.pace.add(len(more))

    def go_over(self, number: int, add: Callable[[Row], None]) -> str:
        """Do pass ``number``, from 1, and return why there was nothing to do, an empty text where there was.

        Raises:
            Diverged: When a loss is not finite.
        """
        settings = self._settings
        order = self.pace.next_pass()
        if not order:
            return "the true answer is unlikely in every training prompt"
        if settings.early_stop and self._reach(number, len(order)) < LITTLE * self._reached:
            return "the last pass could change little"
        for start in range(0, len(order), settings.batch_size):
            began = time.perf_counter()
            places = order[start : start + settings.batch_size]
            rows = [self._items[place] for place in places]
            result = forward_backward(
                self._trainee,
                self.forward,
                rows,
                list(islice(self._anchors, len(rows))),
                settings,
                accelerator=self._accelerator,
                parameters=self._parameters,
            )
            self.pace.note(places, result.told)
            rate = self._updates.step((number - 1 + (start + len(places) / 2) / len(order)) / settings.passes)
            self._reached += rate
            self.step += 1
            self.seconds += time.perf_counter() - began
            add({"step": self.step, "pass": number, **result.losses, "learning_rate": rate})
        return ""

    def _reach(self, number: int, rows: int) -> float:
        """Return the rates of a pass, added up over its steps."""
        middle = rate_factor((number - 0.5) / self._settings.passes, self._settings.warmup)
        return self._settings.learning_rate * middle * math.ceil(rows / self._settings.batch_size)


def _endless(anchors: Sequence[AnchorRow], chooser: random.Random) -> Iterator[AnchorRow]:
    while anchors:
        yield from chooser.sample(anchors, len(anchors))
