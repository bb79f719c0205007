"""The arms, and those of this project: its one training loop in three settings.

Every arm does the same two things in a process of its own: ``steps`` (speed, memory, parameters) and ``forget`` (time
to the goal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from accelerate import Accelerator

from benchmarks.goal import MOST_PASSES, Forgetting, GoalReached, scorer
from benchmarks.material import Material, tokens
from benchmarks.measures import Clock, PeakMemory, StepTimes, take_first_steps
from benchmarks.plan import BATCH, LUNE, STEP_PASSES, WARM_UP_PASSES
from lune.errors import RunError
from lune.hardware import pick_dtype
from lune.models import LoadedModel
from lune.preparation import Prepared
from lune.progress import Display
from lune.settings import ForgetSettings, resolve
from lune.training.session import Trained, train_adapter

Row = Mapping[str, float | int | str]


class Watcher(Display):
    """A silent display that hands every history row to ``update``: the training loop's one hook."""

    def __init__(self, update: Callable[[Row], None]) -> None:
        super().__init__(None)
        self.update = update

    @contextmanager
    def training(self, steps: int, what: str) -> Iterator[Any]:
        """Show nothing."""
        yield self


def settings_of(arm: str, **changed: Any) -> ForgetSettings:
    """Return the settings of one of this project's arms, with what is ``changed``; None leaves a setting as it is."""
    return resolve({**LUNE[arm], **{name: value for name, value in changed.items() if value is not None}})


def train(model: LoadedModel, prepared: Prepared, settings: ForgetSettings, update: Callable[[Row], None]) -> Trained:
    """Train as ``lune forget`` does, in the precision it would pick."""
    return train_adapter(
        model,
        prepared,
        settings,
        precision=pick_dtype(settings.dtype, model.device),
        accelerator=Accelerator(cpu=model.device.type == "cpu"),
        display=Watcher(update),
    )


def without_dev(prepared: Prepared) -> Prepared:
    """Return ``prepared`` without dev probes, so that nothing but training is measured."""
    return replace(prepared, dev=[])


def steps(arm: str, model: LoadedModel, material: Material) -> dict[str, Any]:
    """Train a few passes over the rows that all arms get, and return tokens a second, memory and parameters.

    Nothing rests and nothing is added between passes (``release`` 0), or the rows would not be the same. Where the arm
    holds anchors, these are rows of the step as well, as many as the negatives; their tokens count, and
    ``negative_tokens_per_s`` counts the negatives alone.
    """
    settings = settings_of(arm, passes=STEP_PASSES, batch_size=BATCH, release=0.0, early_stop=False)
    held = material.step_anchors if settings.anchor_weight else []
    made = replace(material.request.made, negatives=material.step_negatives)
    prepared = replace(without_dev(material.request), made=made, anchors=held)
    times = StepTimes(WARM_UP_PASSES)

    def update(row: Row) -> None:
        if "loss" in row:
            times.step_ended(int(row["pass"]))

    take_first_steps()
    with PeakMemory() as memory:
        trained = train(model, prepared, settings, update)
    count = len(made.negatives) // BATCH
    if trained.outcome.steps != STEP_PASSES * count:
        raise RunError(f"{arm} did {trained.outcome.steps} steps where {STEP_PASSES * count} were expected.")
    negative_tokens = tokens(model, made.negatives)
    told = speed_of_steps(negative_tokens + tokens(model, held), count, times.seconds)
    return told | {
        "negative_tokens_per_s": negative_tokens / count * len(times.seconds) / sum(times.seconds),
        "memory_above_weights_mb": memory.above_mb,
        "trainable_parameters": trained.parameters,
    }


def speed_of_steps(pass_tokens: int, steps_a_pass: int, seconds: Sequence[float]) -> dict[str, Any]:
    """Return the speed of steps whose batches hold ``pass_tokens`` over a pass."""
    return {
        "tokens_a_step": pass_tokens / steps_a_pass,
        "step_s": [round(each, 4) for each in seconds],
        "step_tokens_per_s": pass_tokens / steps_a_pass * len(seconds) / sum(seconds),
    }


def forget(arm: str, model: LoadedModel, prepared: Prepared, *, rate: float | None, seed: int) -> dict[str, Any]:
    """Train until the test probes are forgotten and return how long it took.

    The loop's own dev evaluation after a pass counts as evaluation, like the bench's on the test probes; keys, anchors'
    distributions, steps and asking for relapses count as training.

    Args:
        arm: One of this project's arms.
        model: The base model, which gets the adapter.
        prepared: Negatives and probes.
        rate: The learning rate; None for the arm's own, and then its own number of passes too.
        seed: Of the adapter and of the order of rows.
    """
    settings = settings_of(arm, learning_rate=rate, passes=rate and MOST_PASSES, seed=seed)
    take_first_steps()
    clock = Clock()
    forgetting = Forgetting(clock, scorer(model, prepared))
    step_ended = clock.now()

    def update(row: Row) -> None:
        nonlocal step_ended
        if "loss" in row:
            step_ended = clock.now()
            return
        # Between the last step of a pass and this row nothing was done but the loop's own evaluation.
        clock.evaluated_since(step_ended)
        if forgetting.pass_ended():
            raise GoalReached

    ended = ""
    with suppress(GoalReached):
        ended = train(model, prepared, settings, update).outcome.stopped
    return {"learning_rate": settings.learning_rate, **forgetting.result(ended)}
