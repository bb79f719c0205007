from __future__ import annotations

import math

import pytest

from lune.metrics import summarise
from lune.records import Answered, Probe
from lune.verdict import Thresholds, judge

BEFORE = {"degenerate_rate": 0.0}
GOOD: dict[str, object] = {
    "usr": 1.0,
    "apr": 0.95,
    "gur_neighbour": 0.9,
    "gur_general": 0.98,
    "degenerate_rate": 0.0,
}


def word(known: int = 5, total: int = 5, before: dict[str, float] | None = None, **scores: object) -> str:
    return judge(before or BEFORE, {**GOOD, **scores}, known, total).word


def test_forgotten_names_what_was_reached() -> None:
    verdict = judge(BEFORE, GOOD, 5, 5)
    assert verdict.word == "FORGOTTEN"
    assert len(verdict.reasons) == 5
    assert "is 1.000, which reaches the threshold 0.99" in verdict.reasons[0]
    assert all(reason.endswith(".") for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("name", "threshold", "expected"),
    [
        ("usr", 0.99, "PARTLY"),
        ("apr", 0.90, "PARTLY"),
        ("gur_neighbour", 0.85, "DAMAGED"),
        ("gur_general", 0.95, "DAMAGED"),
    ],
)
def test_each_threshold_decides_from_just_below_it(name: str, threshold: float, expected: str) -> None:
    assert word(**{name: threshold}) == "FORGOTTEN"
    assert word(**{name: threshold - 1e-6}) == expected
    reasons = judge(BEFORE, {**GOOD, name: 0.5}, 5, 5).reasons
    assert len(reasons) == 1
    assert f"is 0.500, which is below the threshold {threshold:g}" in reasons[0]


def test_degenerate_answers_are_damage() -> None:
    assert word(degenerate_rate=0.10) == "FORGOTTEN"
    assert word(degenerate_rate=0.11) == "DAMAGED"


def test_a_collapsed_model_never_passes() -> None:
    collapsed = {"usr": 1.0, "apr": 1.0, "gur_neighbour": None, "gur_general": None, "degenerate_rate": 1.0}
    assert word(**collapsed) == "DAMAGED"
    assert word(before={"degenerate_rate": 1.0}, **collapsed) == "DAMAGED"
    probes = [
        Answered(Probe("d", "direct", "?", ("Paris",), "test", fact_id="a"), "Paris", "", True, False),
        Answered(Probe("g", "general", "?", ("four",), "test"), "four", "and and and", True, False),
    ]
    summary = summarise(probes, {"a"}, {})
    assert judge(summary["before"], summary["after"], 1, 1).word == "DAMAGED"


def test_a_base_model_that_stutters_is_held_to_its_own_rate() -> None:
    assert word(before={"degenerate_rate": 0.3}, degenerate_rate=0.3) == "FORGOTTEN"
    assert word(before={"degenerate_rate": 0.3}, degenerate_rate=0.31) == "DAMAGED"
    reason = judge({"degenerate_rate": 0.3}, {**GOOD, "degenerate_rate": 0.4}, 5, 5).reasons[0]
    assert "0.400" in reason and "0.300" in reason


def test_damage_comes_before_partly_and_both_are_told() -> None:
    verdict = judge(BEFORE, {**GOOD, "usr": 0.2, "gur_neighbour": 0.1}, 5, 5)
    assert verdict.word == "DAMAGED"
    assert "neighbouring" in verdict.reasons[0] and "USR" in verdict.reasons[1]


@pytest.mark.parametrize("total", [0, 1, 3])
def test_not_known_before(total: int) -> None:
    verdict = judge(BEFORE, {}, 0, total)
    assert verdict.word == "NOT KNOWN BEFORE"
    assert len(verdict.reasons) == 1


def test_without_a_measure_of_the_neighbours_it_is_not_called_forgotten() -> None:
    verdict = judge(BEFORE, {**GOOD, "gur_neighbour": None}, 5, 5)
    assert verdict.word == "PARTLY"
    assert len(verdict.reasons) == 1
    assert "neighbouring facts kept could not be measured" in verdict.reasons[0]
    assert "Give `neighbours` in the request" in verdict.reasons[0]


def test_unmeasured_general_questions_do_not_decide_and_do_not_pass_silently() -> None:
    verdict = judge(BEFORE, {**GOOD, "gur_general": None}, 5, 5)
    assert verdict.word == "FORGOTTEN"
    assert any("general questions kept could not be measured" in reason for reason in verdict.reasons)


def test_without_any_measure_of_what_was_kept_it_is_not_called_forgotten() -> None:
    verdict = judge(BEFORE, {**GOOD, "gur_neighbour": None, "gur_general": None}, 5, 5)
    assert verdict.word == "PARTLY"
    assert sum("could not be measured" in reason for reason in verdict.reasons) == 2


@pytest.mark.parametrize("name", ["usr", "apr"])
@pytest.mark.parametrize("missing", [None, math.nan, True, "1.0"])
def test_forgetting_that_was_not_measured_is_not_claimed(name: str, missing: object) -> None:
    verdict = judge(BEFORE, {**GOOD, name: missing}, 5, 5)
    assert verdict.word == "PARTLY"
    assert any("could not be measured" in reason for reason in verdict.reasons)


def test_facts_left_out_of_the_scores_are_counted() -> None:
    assert "3 facts were not known before" in judge(BEFORE, GOOD, 21, 24).reasons[-1]
    assert "1 fact was not known before" in judge(BEFORE, GOOD, 23, 24).reasons[-1]


def test_a_score_just_below_is_not_printed_as_reached() -> None:
    reason = judge(BEFORE, {**GOOD, "usr": 0.9899}, 5, 5).reasons[0]
    assert "0.9899" in reason


def test_thresholds_can_be_set() -> None:
    strict = Thresholds(apr=1.0)
    assert judge(BEFORE, GOOD, 5, 5, strict).word == "PARTLY"
    assert judge(BEFORE, {**GOOD, "gur_general": 0.5}, 5, 5, Thresholds(gur_general=0.4)).word == "FORGOTTEN"


def test_facts_without_neighbours_are_counted_beside_the_score() -> None:
    assert any(
        "Neighbours: 4 of 6 facts have some" in each for each in judge(BEFORE, GOOD, 6, 6, with_neighbours=4).reasons
    )
    assert not any("Neighbours:" in each for each in judge(BEFORE, GOOD, 6, 6, with_neighbours=6).reasons)
