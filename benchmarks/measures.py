"""What is measured and how it is summed up: wall time, peak memory, medians with their spread, growth exponents."""

from __future__ import annotations

import gc
import math
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypedDict

import psutil

SAMPLES_A_SECOND = 50
"""How often the resident set is looked at."""


class Figure(TypedDict, total=False):
    """One figure over several runs; None where it was not reached, with the reason."""

    median: float | None
    min: float | None
    max: float | None
    reason: str


def figure(values: Sequence[float | None], reason: str = "") -> Figure:
    """Return median, smallest and largest value of several runs.

    A run that did not reach the goal counts as one that took for ever: where it would be the median, or the largest
    value, there is none. So the figure of an arm is never made of its lucky runs alone.

    Args:
        values: One value a run, None where the run did not reach what is measured.
        reason: Why, for the runs that have no value; or why there was no run.
    """
    if not values:
        return {"median": None, "min": None, "max": None, "reason": reason or "not measured"}
    ordered = sorted(math.inf if value is None else value for value in values)
    found: Figure = {
        "median": _finite(statistics.median_low(ordered) if ordered[-1] == math.inf else statistics.median(ordered)),
        "min": _finite(ordered[0]),
        "max": _finite(ordered[-1]),
    }
    missing = sum(value is None for value in values)
    if missing:
        found["reason"] = f"{missing} of {len(values)} runs: {reason or 'not reached'}"
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def exponent(sizes: Sequence[float], values: Sequence[float | None]) -> float | None:
    """Return b of the least-squares fit log(value) = a + b log(size); None with fewer than two positive values.

    1 means proportional to the size, 0 independent of it.
    """
    points = [(math.log(x), math.log(y)) for x, y in zip(sizes, values, strict=True) if y is not None and y > 0]
    if len({x for x, _ in points}) <= 1:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


class Clock:
    """Wall time in seconds from the moment it is made, with and without what was spent on evaluation.

    Args:
        now: Where the time comes from.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._began = now()
        self._evaluating = 0.0

    def now(self) -> float:
        """Return the present moment, for ``evaluated_since``."""
        return self._now()

    def evaluated_since(self, moment: float) -> None:
        """Count the time from ``moment`` until now as evaluation."""
        self._evaluating += self._now() - moment

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Count the time inside the block as evaluation."""
        began = self._now()
        try:
            yield
        finally:
            self._evaluating += self._now() - began

    @property
    def training_s(self) -> float:
        """Seconds so far, evaluation excluded."""
        return self.total_s - self._evaluating

    @property
    def total_s(self) -> float:
        """Seconds so far, evaluation included."""
        return self._now() - self._began


class StepTimes:
    """Seconds of training steps, of which those of the first passes are a warm-up.

    A step lasts from the end of the one before it to its own end, so what a trainer does between two steps is part of
    it. The first step of a pass has none before it and is left out.

    Args:
        warm_up_passes: How many passes are not counted.
        now: Where the time comes from.
    """

    def __init__(self, warm_up_passes: int, now: Callable[[], float] = time.perf_counter) -> None:
        self._warm_up = warm_up_passes
        self._now = now
        self._last: tuple[int, float] | None = None
        self.seconds: list[float] = []

    def step_ended(self, number: int) -> None:
        """Take note that a step of pass ``number``, from 1, has just ended."""
        moment = self._now()
        if self._last and self._last[0] == number > self._warm_up:
            self.seconds.append(moment - self._last[1])
        self._last = (number, moment)


class PeakMemory:
    """The most resident memory inside the block above that at its beginning, in MB (2^20 bytes).

    A thread looks at the resident set many times a second. What rises and falls between two looks is still in the
    process's own high-water mark, which counts when it rose inside the block.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before_mb = 0.0
        self.peak_mb = 0.0

    @property
    def above_mb(self) -> float:
        """The most memory above that at the beginning."""
        return max(0.0, self.peak_mb - self.before_mb)

    def __enter__(self) -> Self:
        """Take the resident set as it is, after what is no longer used was given back, as the beginning."""
        gc.collect()
        _give_back()
        self._mark = _high_water_mb()
        self.before_mb = self.peak_mb = self._resident_mb()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()
        self.peak_mb = max(self.peak_mb, self._resident_mb())
        if (mark := _high_water_mb()) > self._mark:
            self.peak_mb = max(self.peak_mb, mark)

    def _watch(self) -> None:
        while not self._stop.wait(1 / SAMPLES_A_SECOND):
            self.peak_mb = max(self.peak_mb, self._resident_mb())

    def _resident_mb(self) -> float:
        return float(self._process.memory_info().rss) / 2**20


def take_first_steps() -> None:
    """Do an optimiser's first step on a few numbers: the modules torch imports for it are no cost of a training."""
    import torch  # the process that starts the others does without it

    small = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(small.parameters())
    small(torch.ones(1, 2)).sum().backward()
    torch.nn.utils.clip_grad_norm_(small.parameters(), 1.0)
    optimiser.step()


def _high_water_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # macOS counts in bytes, Linux in KiB


def _give_back() -> None:
    """Let the C library return freed memory to the system: else what loading freed would hide what training takes."""
    if sys.platform == "linux":
        import ctypes

        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):
            return  # another C library: the figure is then a little too small, for every arm alike
