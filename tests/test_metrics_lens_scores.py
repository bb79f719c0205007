"""The logit lens against chance, by hand on readings of a few options and layers."""

from __future__ import annotations

from itertools import product

import pytest
from scipy.stats import beta, binomtest

from lune.metrics import lens_scores
from lune.metrics.lens_scores import best_layer_p, layer_scores
from lune.metrics.logit_lens import LayerReading


def fact(*layers: tuple[int, ...]) -> list[LayerReading]:
    """Return the readings of a fact from the ranks of its options in each layer, the truth's first."""
    return [
        {
            "layer": number,
            "answer": {"probability": 0.1, "rank": own},
            "alternates": {str(n): {"probability": 0.1, "rank": rank} for n, rank in enumerate(others)},
        }
        for number, (own, *others) in enumerate(layers)
    ]


def test_a_layer_by_hand() -> None:
    # Of four facts with four options three are right; the fourth truth outranks one of its three alternates.
    readings = [fact((1, 2, 3, 9)), fact((5, 7, 8, 6)), fact((2, 30, 4, 3)), fact((8, 2, 5, 9))]
    (layer,) = layer_scores(readings)
    assert layer["picked"] == 3 / 4
    assert layer["above_chance"] == pytest.approx((3 / 4 - 1 / 4) / (1 - 1 / 4))
    # P(X >= 3) of four guesses at 1/4: 4 * (1/4)^3 * 3/4 + (1/4)^4 = 13/256.
    assert layer["p_above"] == pytest.approx(13 / 256)
    assert layer["auc"] == pytest.approx((1 + 1 + 1 + 1 / 3) / 4)
    # Clopper and Pearson for 3 of 4, on the scale on which guessing is 0.
    low, high = beta.ppf(0.025, 3, 2), beta.ppf(0.975, 4, 1)
    assert layer["above_chance_interval"] == pytest.approx([(low - 0.25) / 0.75, (high - 0.25) / 0.75])
    assert layer["auc_interval"] is not None
    assert layer["auc_interval"][0] < layer["auc"] < layer["auc_interval"][1] == 1.0


def test_guessing_is_nought_and_shunning_is_below_it() -> None:
    guessed, shunned = layer_scores([fact((1, 2), (2, 1)), fact((2, 1), (2, 1))])
    assert (guessed["layer"], guessed["above_chance"], guessed["auc"]) == (0, 0.0, 0.5)
    assert (shunned["layer"], shunned["above_chance"], shunned["auc"]) == (1, -1.0, 0.0)
    assert guessed["p_above"] == pytest.approx(3 / 4) and shunned["p_above"] == pytest.approx(1.0)


def test_facts_with_more_options_are_harder_to_guess() -> None:
    (layer,) = layer_scores([fact((1, 2)), fact((1, 2, 3, 4, 5))])
    assert layer["p_above"] == pytest.approx(1 / 2 * 1 / 5)
    chance = (1 / 2 + 1 / 5) / 2
    low = binomtest(2, 2).proportion_ci(0.95, method="exact").low
    assert layer["above_chance_interval"] == pytest.approx([(low - chance) / (1 - chance), 1.0])


def test_a_tie_is_half_an_alternate_and_no_pick() -> None:
    (layer,) = layer_scores([fact((3, 3, 7, 9))])
    assert layer["picked"] == 0.0
    assert layer["auc"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert layer["auc_interval"] is None
    assert best_layer_p([fact((3, 3, 7, 9))]) == 1.0


def test_one_layer_by_itself_is_no_better_than_the_exact_test() -> None:
    readings = [fact((1, 2, 3)), fact((4, 6, 9)), fact((5, 2, 8))]
    assert best_layer_p(readings) == pytest.approx(layer_scores(readings)[0]["p_above"]) == pytest.approx(7 / 27)


def test_the_best_of_many_layers_is_judged_by_all_of_them() -> None:
    # Two facts of three options. Layer 0 puts the truth of both first; layer 1 the first alternate of both.
    readings = [fact((1, 2, 3), (2, 1, 3)), fact((1, 2, 3), (2, 1, 3))]
    assert layer_scores(readings)[0]["p_above"] == pytest.approx(1 / 9)
    # Of the nine pairs of truths two give some layer both: (truth, truth) and (alternate, alternate).
    assert best_layer_p(readings) == pytest.approx(2 / 9)
    # A layer that says the same again adds no chance.
    twice = [[*layers, layers[0]] for layers in readings]
    assert best_layer_p(twice) == pytest.approx(2 / 9)


def test_of_too_many_ways_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = [((1, 2, 3), (1, 3, 2)), ((2, 1, 3), (1, 2, 3)), ((1, 2, 3), (3, 1, 2)), ((3, 1, 2), (1, 2, 3))]
    readings = [fact(*layers) for layers in ranks]
    hits = 0
    for truths in product(range(3), repeat=4):
        right = [sum(layers[n][t] == 1 for layers, t in zip(ranks, truths, strict=True)) for n in (0, 1)]
        hits += max(right) >= 3
    assert best_layer_p(readings) == pytest.approx(hits / 81)
    monkeypatch.setattr(lens_scores, "MOST_COUNTED", 80)
    assert best_layer_p(readings, seed=1) == best_layer_p(readings, seed=1)
    assert best_layer_p(readings) == pytest.approx(hits / 81, abs=0.12)
    # None of 80 draws finds the truths of 16 facts, but the choice at hand is one, so that p is never 0.
    assert best_layer_p([fact((1, 2, 3))] * 16) == pytest.approx(1 / 81)
