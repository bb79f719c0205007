"""GUR: what share of what had to stay is still there.

General utility retention, after LUNE (arXiv 2512.07375) Eq. 9: correct after / correct before, over the probes that the
base model answered rightly. Neighbours and general questions are kept apart because unlearning breaks the neighbours
first, and a score on general questions alone hides it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from lune.metrics.forgetting import When, is_correct
from lune.metrics.intervals import RESAMPLES, cluster_sums, interval_of, mean_interval, ratio_draws
from lune.records import Answered, Interval, ProbeKind

_Samples = list[tuple[Hashable, float]]


@dataclass(frozen=True)
class Retention:
    """What was kept.

    Attributes:
        gur: Mean of the two below; value None unless both were measured, since a mean of one hides the other.
        neighbour: Over neighbour probes; its interval is by bootstrap over the forgotten facts they belong to.
        general: Over general probes; its interval is by bootstrap over probes.
        neighbour_by_relation: ``neighbour`` split by the probes' relation: same, other, given.
    """

    gur: Interval
    neighbour: Interval
    general: Interval
    neighbour_by_relation: dict[str, Interval]


def utility_retention(answered: Sequence[Answered], *, when: When = "after", seed: int = 0) -> Retention:
    """Return what the model kept of what it had right before.

    Args:
        answered: Probes with their answers; those the base model got wrong are not counted.
        when: ``before`` gives 1.0 by definition wherever there is a probe to count.
        seed: Seed of the bootstrap.
    """
    neighbours, general = _samples(answered, "neighbour", when), _samples(answered, "general", when)
    relations = sorted({_relation(item) for item in known_probes(answered, "neighbour")})
    return Retention(
        gur=_mean_of_two(neighbours, general, seed),
        neighbour=mean_interval(neighbours, seed=seed),
        general=mean_interval(general, seed=seed),
        neighbour_by_relation={
            relation: mean_interval(
                _samples([item for item in answered if _relation(item) == relation], "neighbour", when), seed=seed
            )
            for relation in relations
        },
    )


def known_probes(answered: Sequence[Answered], kind: ProbeKind) -> list[Answered]:
    """Return the probes of ``kind`` that the base model answered rightly."""
    return [item for item in answered if item.probe.kind == kind and item.correct_before]


def cluster_of(item: Answered) -> Hashable:
    """Return what the bootstrap draws: the fact a probe belongs to, or the probe itself where it belongs to none."""
    return ("fact", item.probe.fact_id) if item.probe.fact_id is not None else ("probe", item.probe.id)


def _relation(item: Answered) -> str:
    return item.probe.relation or "unspecified"


def _samples(answered: Sequence[Answered], kind: ProbeKind, when: When) -> _Samples:
    """Return (cluster, 1.0 where right) for each probe of ``kind`` to count."""
    return [(cluster_of(item), float(is_correct(item, when))) for item in known_probes(answered, kind)]


def _mean_of_two(neighbours: _Samples, general: _Samples, seed: int) -> Interval:
    """Return the mean of both retentions; the draws of the two are independent."""
    if not neighbours or not general:
        return Interval(None)
    generator = np.random.default_rng(seed)
    values, draws = [], []
    for samples in (neighbours, general):
        numerators, denominators = cluster_sums(samples)
        values.append(sum(numerators) / sum(denominators))
        draws.append(ratio_draws(numerators, denominators, generator, RESAMPLES))
    value = sum(values) / 2
    if any(len(drawn) == 0 for drawn in draws):  # one cluster shows no spread, so neither does the mean
        return Interval(value)
    return interval_of(value, (draws[0] + draws[1]) / 2)
