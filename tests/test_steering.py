"""Which adapter is kept and when training stops, from made-up dev scores."""

from __future__ import annotations

import torch

from lune.training.steering import COLLAPSE, PATIENCE, DevScores, Steering


def scores(usr: float, apr: float, neighbour: float = 1.0, general: float = 1.0, degenerate: float = 0.0) -> DevScores:
    return DevScores(usr, apr, neighbour, general, degenerate)


def steered(*evaluations: DevScores, max_drop: float = 0.005, paced: bool = False) -> tuple[Steering, list[str | None]]:
    """Feed evaluations to a steering, with the step's number as the adapter; return it and what it said each time."""
    steering = Steering(max_drop, paced=paced)
    said = []
    for step, each in enumerate(evaluations, 1):
        steering.record(step, each, {"step": torch.tensor(step)})
        said.append(steering.reason_to_stop(each))
    return steering, said


def test_within_the_noise_of_the_highest_rank_the_later_adapter_is_kept() -> None:
    assert steered(scores(0.5, 0.5), scores(0.5, 0.48))[0].best_step == 2
    assert steered(scores(0.5, 0.5), scores(0.5, 0.46))[0].best_step == 1
    # Small losses must not add up: the second is within the noise of the first, the third of the second alone.
    assert steered(scores(0.5, 0.5), scores(0.5, 0.48), scores(0.5, 0.46))[0].best_step == 2


def test_within_the_allowed_drop_more_forgetting_wins() -> None:
    steering, _ = steered(scores(0.5, 0.5), scores(0.9, 0.8), scores(0.8, 0.8))
    assert steering.best_step == 2
    assert steering.best is not None
    assert steering.best["step"] == 2


def test_an_adapter_that_keeps_beats_one_that_forgets_more_and_breaks() -> None:
    steering, _ = steered(scores(0.8, 0.8), scores(1.0, 1.0, neighbour=0.3))
    assert steering.best_step == 1


def test_when_none_keeps_enough_destroying_most_does_not_win() -> None:
    steering, _ = steered(scores(0.9, 0.9, neighbour=0.9), scores(1.0, 1.0, neighbour=0.0, general=0.1))
    assert steering.best_step == 1


def test_a_run_stops_when_all_is_forgotten_and_kept() -> None:
    _, said = steered(scores(0.5, 0.5), scores(1.0, 0.98))
    assert said == [None, "dev probes forgotten, utility kept"]


def test_a_larger_drop_is_accepted_when_it_is_allowed() -> None:
    evaluation = scores(1.0, 1.0, neighbour=0.9)
    assert steered(evaluation)[1] == [None]
    assert steered(evaluation, max_drop=0.06)[1] == ["dev probes forgotten, utility kept"]


def test_a_run_stops_when_it_has_forgotten_and_only_gets_worse() -> None:
    _, said = steered(scores(1.0, 1.0, neighbour=0.9), scores(1.0, 1.0, neighbour=0.8))
    assert said[0] is None
    assert said[1] is not None
    assert "no longer improves" in said[1]


def test_a_run_that_finds_nothing_better_stops_after_its_patience() -> None:
    best = scores(1.0, 0.9)
    worse = scores(0.99, 0.8)
    _, said = steered(best, *[worse] * PATIENCE)
    assert said[:-1] == [None] * PATIENCE
    assert said[-1] == f"no better adapter in {PATIENCE} evaluations"


def test_a_run_that_has_not_forgotten_goes_on() -> None:
    _, said = steered(*[scores(0.4, 0.4)] * 8)
    assert said == [None] * 8


def test_a_collapsed_model_stops_the_run() -> None:
    _, said = steered(scores(1.0, 1.0, degenerate=COLLAPSE + 0.1))
    assert said[0] is not None
    assert said[0].startswith("collapse: 60%")


def test_a_paced_run_ends_with_the_third_pass_that_brings_nothing() -> None:
    better, worse = scores(0.8, 0.8), scores(0.4, 0.4)
    assert steered(scores(0.5, 0.5), better, worse, paced=True)[1] == [
        None, None, "the last pass brought no better adapter",
    ]  # fmt: skip
    assert steered(better, worse, paced=True)[1] == [None, None]
    assert steered(better, worse, worse)[1] == [None, None, None]
