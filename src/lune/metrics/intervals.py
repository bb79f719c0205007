"""Percentile bootstrap over clusters: how far a score could have come out otherwise with other facts.

The probes of one fact succeed and fail together, so whole facts are drawn with replacement, not single probes (Efron
and Tibshirani 1993, ch. 13; Field and Welsh 2007 for clusters). The interval is the 2.5th to the 97.5th percentile of
the score over the draws. Where every cluster scores the same it has no width: it then says
nothing of facts unlike these.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lune.records import Interval

RESAMPLES = 1000
LEVEL = 0.95
_CHUNK_CELLS = 2_000_000  # draws times clusters held at once

Floats: TypeAlias = NDArray[np.float64]


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return sum(numerators) / sum(denominators) with its bootstrap interval.

    Args:
        numerators: One number a cluster, such as the probes of a fact that were answered rightly.
        denominators: One number a cluster, such as the probes of that fact.
        seed: Seed of the draws; the same seed gives the same interval.
        resamples: Number of draws.

    Returns:
        ``value`` None where the denominators sum to 0; bounds None with fewer than two clusters, which show no spread.
    """
    total = float(sum(denominators))
    if total == 0:
        return Interval(None)
    value = float(sum(numerators)) / total
    return interval_of(value, ratio_draws(numerators, denominators, np.random.default_rng(seed), resamples))


def mean_interval(samples: Iterable[tuple[Hashable, float]], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Return the mean of the values of ``samples``, pooled, with its interval by bootstrap over the clusters.

    Args:
        samples: (cluster, value) pairs, in any order.
        seed: Seed of the draws.
        resamples: Number of draws.
    """
    numerators, denominators = cluster_sums(samples)
    return ratio_interval(numerators, denominators, seed=seed, resamples=resamples)


def cluster_sums(samples: Iterable[tuple[Hashable, float]]) -> tuple[list[float], list[float]]:
    """Return the sum and the number of the values of each cluster, in order of first appearance."""
    sums: dict[Hashable, tuple[float, int]] = {}
    for cluster, value in samples:
        total, count = sums.get(cluster, (0.0, 0))
        sums[cluster] = (total + value, count + 1)
    return [total for total, _ in sums.values()], [float(count) for _, count in sums.values()]


def ratio_draws(
    numerators: Sequence[float], denominators: Sequence[float], generator: np.random.Generator, resamples: int
) -> Floats:
    """Return the ratio of sums in each bootstrap draw; empty with fewer than two clusters.

    A draw whose denominators sum to 0 has no ratio and is left out.
    """
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    clusters = len(below)
    if clusters < 2:  # noqa: PLR2004
        return np.empty(0)
    chunk = max(1, _CHUNK_CELLS // clusters)
    parts: list[Floats] = []
    for start in range(0, resamples, chunk):
        times = draw_counts(clusters, generator, min(chunk, resamples - start))
        sums = times @ below
        usable = sums > 0
        parts.append((times[usable] @ above) / sums[usable])
    return np.concatenate(parts)


def draw_counts(clusters: int, generator: np.random.Generator, resamples: int) -> Floats:
    """Return how often each cluster is drawn: resamples x clusters, each row summing to ``clusters``."""
    counts = generator.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=resamples)
    return counts.astype(np.float64)


def interval_of(value: float, draws: Floats) -> Interval:
    """Return ``value`` with the percentile interval of ``draws``, without bounds where there are no draws."""
    if len(draws) == 0:
        return Interval(value)
    tail = (1.0 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high))
