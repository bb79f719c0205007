from __future__ import annotations

import numpy as np
import pytest

from lune.metrics import intervals
from lune.metrics.intervals import cluster_sums, draw_counts, mean_interval, ratio_draws, ratio_interval
from lune.records import Interval


def test_the_value_is_the_pooled_mean_not_the_mean_of_means() -> None:
    interval = mean_interval([("a", 1.0), ("a", 1.0), ("a", 1.0), ("b", 0.0)])
    assert interval.value == 0.75


def test_clusters_are_summed_wherever_they_stand() -> None:
    assert cluster_sums([("a", 1.0), ("b", 0.5), ("a", 0.0)]) == ([1.0, 0.5], [2.0, 1.0])


def test_nothing_to_count_has_no_value() -> None:
    assert mean_interval([]) == Interval(None)
    assert ratio_interval([0.0, 0.0], [0.0, 0.0]) == Interval(None)


def test_one_cluster_shows_no_spread() -> None:
    assert mean_interval([("a", 1.0), ("a", 0.0)]) == Interval(0.5, None, None)


def test_equal_clusters_have_an_interval_without_width() -> None:
    assert mean_interval([("a", 1.0), ("b", 1.0), ("c", 1.0)]) == Interval(1.0, 1.0, 1.0)


def test_same_seed_same_interval() -> None:
    samples = [(cluster, cluster**0.5) for cluster in range(40)]
    assert mean_interval(samples, seed=5) == mean_interval(samples, seed=5)
    assert mean_interval(samples, seed=5) != mean_interval(samples, seed=6)


def test_it_agrees_with_the_binomial_for_independent_successes() -> None:
    samples = [(cluster, float(cluster < 60)) for cluster in range(200)]
    interval = mean_interval(samples, resamples=4000)
    half_width = 1.96 * np.sqrt(0.3 * 0.7 / 200)
    assert interval.low == pytest.approx(0.3 - half_width, abs=0.012)
    assert interval.high == pytest.approx(0.3 + half_width, abs=0.012)


def test_clustering_widens_the_interval() -> None:
    alone = mean_interval([(number, float(number % 2)) for number in range(200)])
    clustered = mean_interval([(number % 10, float(number % 2)) for number in range(200)])
    assert alone.low is not None and alone.high is not None and clustered.low is not None and clustered.high is not None
    assert clustered.high - clustered.low > 3 * (alone.high - alone.low)


def test_95_percent_intervals_hold_the_truth_about_so_often() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        outcomes = generator.random(60) < 0.6
        interval = mean_interval([(index, float(right)) for index, right in enumerate(outcomes)], seed=trial)
        assert interval.low is not None and interval.high is not None
        held += interval.low <= 0.6 <= interval.high
    assert 0.88 <= held / 200 <= 0.99


def test_draws_without_anything_to_count_are_left_out() -> None:
    draws = ratio_draws([1.0, 0.0], [2.0, 0.0], np.random.default_rng(0), 1000)
    assert 600 < len(draws) < 900  # a quarter of the draws is the empty cluster twice
    assert set(draws) == {0.5}


def test_draws_come_with_replacement_and_in_full_number(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = draw_counts(5, np.random.default_rng(0), 300)
    assert counts.shape == (300, 5)
    assert set(counts.sum(axis=1)) == {5.0}
    assert counts.max() > 1
    monkeypatch.setattr(intervals, "_CHUNK_CELLS", 12)
    assert len(ratio_draws([1.0, 0.0], [1.0, 1.0], np.random.default_rng(0), 1000)) == 1000
