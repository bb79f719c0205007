"""The membership attacks by gradient and by reference on a benchmark's own texts: what is stored, and its scores."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lune.benchmarks.members import measure_members, member_scores
from lune.benchmarks.task import Task
from lune.metrics.privacy import gradient_norm_scores
from lune.models import LoadedModel
from tiny import question

TAUGHT = {"France": "Paris", "Japan": "Tokyo", "Italy": "Rome"}
MEMBERS = tuple((question(country), f"The capital of {country} is {capital}.") for country, capital in TAUGHT.items())
OTHERS = tuple((question(country), f"The capital of {country} is Madrid.") for country in ("France", "Japan"))


def stored(members: list[float | None], others: list[float | None]) -> dict[str, Any]:
    """Return what might have been measured; the gradient-norm scores are those of the members the other way round."""
    return {
        "members": {"mean_log_prob": members, "gradnorm": members[::-1]},
        "non_members": {"mean_log_prob": others, "gradnorm": others},
    }


def test_each_text_is_scored_without_and_its_gradient_with_the_end_of_turn(tiny_model: LoadedModel) -> None:
    measured = measure_members(tiny_model, Task("t", (), members=MEMBERS, non_members=OTHERS))
    assert json.loads(json.dumps(measured)) == measured
    for side, texts in (("members", MEMBERS), ("non_members", OTHERS)):
        means = [sum(each.log_probs[:-1]) / (len(each.log_probs) - 1) for each in tiny_model.score(texts)]
        assert measured[side]["mean_log_prob"] == pytest.approx(means)
        assert measured[side]["gradnorm"] == pytest.approx(gradient_norm_scores(tiny_model, texts))
    scores = member_scores({"before": measured})["before"]
    assert scores == {"mia_gradnorm_auc": 1.0, "mia_gradnorm_balanced_accuracy": 1.0}


def test_without_texts_nothing_is_told_apart(tiny_model: LoadedModel) -> None:
    measured = measure_members(tiny_model, Task("t", ()))
    assert set(member_scores({"before": measured})["before"].values()) == {None}


def test_both_attacks_by_hand() -> None:
    before = stored([-0.1, -0.2, -0.9], [-0.5, -2.0])
    reference = stored([-1.0, -2.0, -1.4], [-0.4, -2.1])
    scores = member_scores({"before": before, "reference": reference})
    # Above the reference: members 0.9, 1.8, 0.5; non-members -0.1, 0.1. All six pairs are won.
    assert scores["before"]["mia_reference_auc"] == 1.0
    assert scores["before"]["mia_reference_balanced_accuracy"] == 1.0
    # Members -0.9, -0.2, -0.1 against -0.5 and -2.0: five of six pairs; above -0.5 are 2 of 3 and 0 of 2.
    assert scores["before"]["mia_gradnorm_auc"] == pytest.approx(5 / 6)
    assert scores["before"]["mia_gradnorm_balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    # The reference: -1.4, -2.0, -1.0 against -0.4 and -2.1.
    assert scores["reference"]["mia_gradnorm_auc"] == pytest.approx(1 / 2)


def test_the_reference_is_not_compared_with_itself_and_is_needed() -> None:
    own = stored([-0.1], [-0.5])
    both = member_scores({"lune": own, "reference": stored([-0.3], [-0.2])})
    assert both["reference"]["mia_reference_auc"] is both["reference"]["mia_reference_balanced_accuracy"] is None
    assert both["reference"]["mia_gradnorm_auc"] == 0.0
    assert both["lune"]["mia_reference_auc"] == 1.0
    assert both["lune"].keys() == both["reference"].keys()
    assert "mia_reference_auc" not in member_scores({"lune": own})["lune"]


def test_scores_that_are_no_number_are_left_out() -> None:
    scores = member_scores({"lune": stored([-0.3, None], [-0.2]), "reference": stored([-0.1, -0.1], [None])})
    assert scores["lune"]["mia_gradnorm_auc"] == 0.0
    assert scores["lune"]["mia_reference_auc"] is None, "no non-member has a likelihood under both"


def test_a_cell_from_before_this_measure_has_no_scores() -> None:
    scores = member_scores({"lune": stored([-0.1], [-0.5]), "reference": None})
    assert scores["lune"]["mia_gradnorm_auc"] == 1.0
    assert scores["lune"]["mia_reference_auc"] is None
    assert set(scores["reference"].values()) == {None}
