"""The report's small parts: outcomes, marks, rounding, readings, figures."""

from __future__ import annotations

import pytest

from lune.report.answers import mark_expected, outcome_of
from lune.report.figures import Bar, Series, line_chart, paired_bars
from lune.report.wording import mia_reading, show_score, show_seconds


def test_the_same_right_answer_is_a_leak_or_kept_by_what_had_to_happen() -> None:
    told = {
        (must_forget, before, after): outcome_of(
            must_forget=must_forget, correct_before=before, correct_after=after
        ).key
        for must_forget in (True, False)
        for before in (True, False)
        for after in (True, False)
    }
    assert told == {
        (True, True, True): "leak", (True, False, True): "leak", (True, True, False): "forgotten",
        (True, False, False): "silent", (False, True, True): "kept", (False, True, False): "broken",
        (False, False, True): "gained", (False, False, False): "wrong",
    }  # fmt: skip


def test_expected_spellings_are_marked_at_word_boundaries() -> None:
    assert mark_expected("PARIS, not Parisian.", ["Paris"]) == [("PARIS", True), (", not Parisian.", False)]
    assert mark_expected("New York City", ["York", "New York"]) == [("New York", True), (" City", False)]
    assert mark_expected("anything", [""]) == [("anything", False)]


@pytest.mark.parametrize(
    ("value", "threshold", "shown"),
    [(1.0, 0.99, "1.00"), (0.9972, None, "0.997"), (0.899, 0.9, "0.899"), (0.9, 0.9, "0.90"), (0.004, None, "0.004"),
     (0.0, None, "0.00"), (4.123, None, "4.12"), (0.999999, None, "0.999999"), (None, 0.9, "–")],
)  # fmt: skip
def test_scores_are_rounded_without_misstating_them(value: float | None, threshold: float | None, shown: str) -> None:
    assert show_score(value, threshold) == shown


def test_durations_and_readings() -> None:
    assert [show_seconds(value) for value in (3.14, 59.94, 125.0, 3725.0, None)] == [
        "3.1 s",
        "59.9 s",
        "2 min 05 s",
        "1 h 02 min",
        "–",
    ]
    assert [mia_reading(value) for value in (0.2, 0.47, 0.55, 0.8, None)] == [
        "below chance: over-unlearning, not success",
        "close to chance",
        "close to chance",
        "true answers still stand out",
        "not measured",
    ]


def test_figures_stand_any_data() -> None:
    flat = line_chart("a", "flat", [Series("total", ((3.0, 0.0),))])
    assert "<circle" in flat and "nan" not in flat
    falling = line_chart("b", "falling", [Series("total", tuple((float(x), -x * 1e-7) for x in range(5000)))])
    points = falling.split('points="')[1].split('"')[0].split(" ")
    assert len(points) <= 402 and "e-" not in falling.split('points="')[1].split('"')[0]
    assert paired_bars("c", "bars", [Bar("x", None, 1.7)], None).count("<rect") == 4
