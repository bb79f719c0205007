"""What is measured: the arms, their settings and learning rates, and the jobs in the order in which they are done.

Nothing here imports torch: the process that starts the jobs stays small, for a child inherits its high-water mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

BATCH = 8
"""Rows in a training step, for every arm."""
ROW_TOKENS = 48
"""Length the rows of the step figure are chosen for, prompt and response together."""
STEP_ROWS = 64
STEP_PASSES = 3
WARM_UP_PASSES = 1
"""The first pass over the rows is not timed: buffers, kernels and caches are made in it."""
FACTS = 10
EVALUATION_PROBES = 192
QUICK_EVALUATION_PROBES = 48

RIVALS = ("full-ft-fp32", "full-ft-bf16", "trl-peft", "trainer-peft")
_PLAIN_LORA: dict[str, Any] = {"recipe": "lune-paper", "adapter": "lora", "rank": 16, "alpha": 16.0, "dropout": 0.0}
LUNE: dict[str, dict[str, Any]] = {
    # The bench decides when these end, so the loop's own early stop is off.
    "lune-all": {**_PLAIN_LORA, "layers": "all", "early_stop": False},
    "lune-fast": {**_PLAIN_LORA, "layers": "top:8", "early_stop": False},
    "lune": {},  # the default recipe, as a user gets it
}
"""Settings of this project's arms, as ``lune forget`` takes them."""
WIDE_FAST_LAYERS = "top:2"
"""Layers of ``lune-fast`` on the wide model: the same share of its few layers."""
ARMS = (*RIVALS, *LUNE)

DOCUMENTED: dict[str, float] = {
    "full-ft-fp32": 5e-5,  # transformers' TrainingArguments: the default
    "full-ft-bf16": 5e-5,
    "trl-peft": 2e-4,  # trl's page on PEFT: ten times the rate of full fine-tuning
    "trainer-peft": 1e-3,  # peft's quicktour with transformers' Trainer
    "lune-all": 2e-4,  # the recipe lune-paper
    "lune-fast": 2e-4,
}
"""The learning rate each arm's own documentation gives. ``lune`` has its recipe's and is not tuned here."""
GRID: dict[str, tuple[float, ...]] = {
    arm: (1e-5, 5e-5) if arm.startswith("full-ft") else (2e-4, 1e-3) for arm in DOCUMENTED
}
"""Learning rates compared on the tuning request, which is about other facts."""

WAYS = ("one-by-one", "batched-16", "lune")
"""Ways of answering prompts: transformers' ``generate`` twice, and this project's."""
SIZES = ("built-in", "wide")
GROWTH_ARMS = ("lune", "lune-fast")
GROWTH_FACTS = (10, 30, 100, 300)
QUICK_GROWTH_FACTS = (10, 30, 100)
FIGURES = ("steps", "forget", "evaluation", "growth", "profile")
ANSWERING = "answering"
"""What is profiled beside the training steps of this project's arms."""


@dataclass(frozen=True)
class Options:
    """What the figures depend on besides the machine, the versions and the code.

    Attributes:
        model: What forgets.
        repetitions: Runs of every figure but growth.
        quick: Whether growth is smaller, fewer probes are asked and no learning rate is tuned.
        growth_repetitions: Runs of growth.
    """

    model: str
    repetitions: int
    quick: bool
    growth_repetitions: int = 1

    @property
    def growth_facts(self) -> tuple[int, ...]:
        """Numbers of facts at which growth is measured."""
        return QUICK_GROWTH_FACTS if self.quick else GROWTH_FACTS

    @property
    def evaluation_probes(self) -> int:
        """Prompts that each way of answering is given."""
        return QUICK_EVALUATION_PROBES if self.quick else EVALUATION_PROBES

    def as_dict(self) -> dict[str, Any]:
        """Return the options with every constant that decides a figure, for the record and for resuming."""
        constants = {
            "batch": BATCH,
            "facts": FACTS,
            "arms": LUNE,
            "documented_rates": DOCUMENTED,
            "grid": {} if self.quick else {arm: list(rates) for arm, rates in GRID.items()},
            "evaluation_probes": self.evaluation_probes,
            "growth_facts": list(self.growth_facts),
        }
        return {**asdict(self), **constants}


@dataclass(frozen=True)
class Job:
    """One run in a process of its own.

    Attributes:
        kind: ``steps``, ``grid``, ``forget``, ``evaluation``, ``growth`` or ``profile``.
        arm: The arm; for ``evaluation`` the way.
        repetition: From 0; also the seed of ``forget``.
        rate: The learning rate, None for the arm's own.
        facts: For ``growth``: how many.
        size: For ``growth``: which model.
    """

    kind: str
    arm: str
    repetition: int = 0
    rate: float | None = None
    facts: int = 0
    size: str = ""

    @property
    def key(self) -> str:
        """The name under which the result is stored."""
        parts = [self.kind, self.arm, self.size, f"{self.facts}" if self.facts else ""]
        parts += [f"{self.rate:g}" if self.rate else "", f"{self.repetition}"]
        return "/".join(part for part in parts if part)


Runs = Mapping[str, Mapping[str, Any]]
"""Results by ``Job.key``."""


def jobs(options: Options, arms: Sequence[str], figures: Sequence[str], runs: Runs) -> Iterator[Job]:
    """Yield what is to be done, arms in turn within each repetition; what was found so far in ``runs`` decides rates.

    ``runs`` is read while the jobs are done: the results of those yielded before must be in it.
    """
    repetitions = range(options.repetitions)
    if "steps" in figures:
        yield from (Job("steps", arm, number) for number in repetitions for arm in arms)
    if "forget" in figures:
        if not options.quick:
            yield from (Job("grid", arm, rate=rate) for arm in arms for rate in GRID.get(arm, ()))
        for number in repetitions:
            for arm in arms:
                yield from _forget_jobs(arm, number, runs)
    if "evaluation" in figures:
        yield from (Job("evaluation", way, number) for number in repetitions for way in WAYS)
    if "growth" in figures:
        for number in range(options.growth_repetitions):
            for size in SIZES:
                for arm in (each for each in GROWTH_ARMS if each in arms):
                    for facts in options.growth_facts:
                        yield Job("growth", arm, number, facts=facts, size=size)
    if "profile" in figures:
        yield from (Job("profile", arm) for arm in (*(each for each in LUNE if each in arms), ANSWERING))


def _forget_jobs(arm: str, number: int, runs: Runs) -> Iterator[Job]:
    """Yield the runs of one repetition of an arm: at its documented and, where it is another, its tuned rate.

    A rate that did not reach the goal the first time is not tried again where another rate did: all its passes would
    cost hours and tell nothing.
    """
    rates = rates_of(arm, runs)
    first = [runs.get(Job("forget", arm, 0, rate).key, {}) for rate in rates]
    for rate, run in zip(rates, first, strict=True):
        hopeless = run and not run.get("reached") and (len(rates) == 1 or any(each.get("reached") for each in first))
        if number == 0 or not hopeless:
            yield Job("forget", arm, number, rate)


def rates_of(arm: str, runs: Runs) -> list[float | None]:
    """Return the learning rates an arm is run at: the documented one, and the best of the grid where it is another."""
    if arm not in DOCUMENTED:
        return [None]
    best = tuned_rate(arm, runs)
    return list(dict.fromkeys([DOCUMENTED[arm], *([best] if best else [])]))


def tuned_rate(arm: str, runs: Runs) -> float | None:
    """Return the best rate of an arm's grid: the soonest at the goal, else the one that forgot most; None without any.

    Runs of the tuning request alone are looked at.
    """
    tried = {rate: runs.get(Job("grid", arm, rate=rate).key, {}) for rate in GRID.get(arm, ())}
    found = {rate: run for rate, run in tried.items() if "reached" in run}
    if not found:
        return None

    def merit(rate: float) -> tuple[bool, float, float]:
        run = found[rate]
        return (
            bool(run["reached"]),
            -float(run["time_to_forget_s"] or 0.0),
            float(run["usr"] or 0.0) + float(run["apr"] or 0.0),
        )

    return max(found, key=merit)
