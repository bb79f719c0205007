"""Medians, exponents, clocks and memory of the speed benchmark, on worked numbers."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.goal import Forgetting  # noqa: E402  (benchmarks/ is not installed; the line above makes it importable)
from benchmarks.measures import Clock, PeakMemory, StepTimes, exponent, figure  # noqa: E402
from benchmarks.profiling import REST, kind_of, shares  # noqa: E402


class Time:
    """A clock that shows the moments it was given, and the last one from then on."""

    def __init__(self, *moments: float) -> None:
        self._moments: Iterator[float] = iter(moments)
        self._last = 0.0

    def __call__(self) -> float:
        self._last = next(self._moments, self._last)
        return self._last


def test_a_figure_is_the_median_with_the_spread() -> None:
    assert figure([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert figure([1.0, 2.0]) == {"median": 1.5, "min": 1.0, "max": 2.0}


def test_a_run_that_did_not_get_there_counts_as_endless() -> None:
    one = figure([3.0, None, 2.0], "not forgotten after 12 passes")
    assert one == {"median": 3.0, "min": 2.0, "max": None, "reason": "1 of 3 runs: not forgotten after 12 passes"}
    assert figure([2.0, None, None])["median"] is None
    assert figure([None], "it failed") == {
        "median": None,
        "min": None,
        "max": None,
        "reason": "1 of 1 runs: it failed",
    }
    assert figure([]) == {"median": None, "min": None, "max": None, "reason": "not measured"}


def test_the_exponent_of_powers_is_their_power() -> None:
    sizes = [10, 30, 100, 300]
    assert exponent(sizes, [2 * size for size in sizes]) == pytest.approx(1.0)
    assert exponent(sizes, [7 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert exponent(sizes, [5.0] * 4) == pytest.approx(0.0)


def test_the_exponent_is_the_least_squares_fit_in_logarithms() -> None:
    # log10: x 0, 1, 2; y 0, 1, 1. Means 1 and 2/3; b = ((-1)(-2/3) + 0 + (1)(1/3)) / 2 = 1/2.
    assert exponent([1, 10, 100], [1.0, 10.0, 10.0]) == pytest.approx(0.5)


def test_what_has_no_value_is_left_out_of_the_fit() -> None:
    assert exponent([10, 30, 100], [20.0, None, 200.0]) == pytest.approx(1.0)
    assert exponent([10, 30], [20.0, None]) is None


def test_evaluation_is_taken_off_the_training_time() -> None:
    clock = Clock(Time(100.0, 110.0, 114.0, 120.0, 120.0))
    with clock.evaluation():  # 110 to 114
        pass
    assert (clock.training_s, clock.total_s) == (16.0, 20.0)
    later = Clock(Time(0.0, 7.0, 9.0))
    later.evaluated_since(5.0)  # until 7
    assert later.training_s == 7.0


def test_steps_are_timed_from_end_to_end_after_the_warm_up_and_within_a_pass() -> None:
    times = StepTimes(1, Time(0.0, 1.0, 5.0, 6.5, 8.0, 20.0, 22.0))
    for number in (1, 1, 2, 2, 2, 3, 3):
        times.step_ended(number)
    assert times.seconds == [1.5, 1.5, 2.0], "neither the first pass nor the first step of a pass"


def test_the_peak_of_memory_is_seen_after_it_was_given_back() -> None:
    with PeakMemory() as memory:
        block = bytearray(64 * 2**20)
        block[:: 2**12] = b"x" * len(block[:: 2**12])
        # Where the process once had more than this, its high-water mark says nothing: the watching thread must look.
        patience = time.monotonic() + 20
        while memory.above_mb < 60 and time.monotonic() < patience:
            time.sleep(0.01)
        del block
    assert 60 < memory.above_mb < 300


def rows_of(*scores: tuple[float, float]) -> Iterator[dict[str, float | None]]:
    for usr, apr in scores:
        yield {"usr": usr, "apr": apr, "gur_neighbour": 0.5}


def test_time_to_forget_is_noted_at_the_pass_that_reached_the_goal() -> None:
    # Made at 0; the first pass ends at 10 and is scored until 14, the second ends at 24 and is scored until 27.
    clock = Clock(Time(0.0, 10.0, 10.0, 14.0, 14.0, 24.0, 24.0, 27.0, 27.0))
    scores = rows_of((1.0, 0.8), (1.0, 0.9))
    forgetting = Forgetting(clock, lambda: next(scores))
    assert not forgetting.pass_ended()
    assert forgetting.pass_ended()
    told = forgetting.result("")
    assert told["reached"]
    assert (told["time_to_forget_s"], told["with_evaluation_s"], told["passes_to_forget"]) == (20.0, 27.0, 2)
    assert (told["usr"], told["apr"], told["gur_neighbour"]) == (1.0, 0.9, 0.5)
    assert [row["training_s"] for row in told["passes"]] == [10.0, 20.0]


def test_a_run_that_does_not_forget_says_so_with_its_last_scores() -> None:
    scores = rows_of((0.4, 0.3), (0.9, 1.0))
    forgetting = Forgetting(Clock(), lambda: next(scores))
    assert [forgetting.pass_ended(), forgetting.pass_ended()] == [False, False]
    told = forgetting.result("all passes done")
    assert told["time_to_forget_s"] is told["passes_to_forget"] is None
    assert told["reason"] == "not forgotten after 2 passes (all passes done)"
    assert (told["usr"], told["apr"]) == (0.9, 1.0)


class Operation:
    """What torch's profiler tells of an operation."""

    def __init__(self, key: str, microseconds: float) -> None:
        self.key, self.self_cpu_time_total = key, microseconds


def test_operations_are_shared_out_by_kind_and_what_is_no_operation_is_left_out() -> None:
    kinds = [kind_of(name) for name in ("aten::mm", "mkldnn::_linear_pointwise", "aten::_softmax", "aten::exp")]
    assert kinds == ["matrix products", "matrix products", "attention", "probabilities"]
    assert kind_of("aten::expand") == kind_of("aten::mmul") == kind_of("aten::mul") == REST
    told, seconds = shares([Operation("aten::mm", 3e6), Operation("aten::mul", 1e6), Operation("Optimizer.step", 9e6)])
    assert (told["matrix products"], told[REST], seconds) == (0.75, 0.25, 4.0)
    assert sum(told.values()) == pytest.approx(1.0)
