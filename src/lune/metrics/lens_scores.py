"""Logit lens against chance: does a layer tell the true answer from alternates better than guessing would?

A fact with m alternates is right by guessing with chance 1 / (m + 1), so the share of facts at which a layer puts the
truth first says little by itself. With c of n facts right and chance the mean of 1 / (m + 1):

    above chance = (c / n - chance) / (1 - chance)        0 by guessing, 1 where every fact is read
    p above      = P(X >= c), X the number right by guessing: exact, binomial with as many options everywhere
    AUC          = mean over facts of the share of alternates that the truth outranks, ties half; 0.5 by guessing

The interval of the first is Clopper and Pearson's (1934) of c / n, of the AUC the bootstrap's over facts. The best of
many layers is right more often than one by guessing. Its p-value is that of a permutation test of the largest c of all
layers (Westfall and Young 1993): had the truth been any option of its fact, in all layers the same, how often would a
layer be right as often?
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lune.metrics.choice import chance_tails
from lune.metrics.intervals import LEVEL, mean_interval
from lune.metrics.logit_lens import LayerReading

MOST_COUNTED = 20_000  # ways to choose the truths that are all gone through; of more, as many are drawn

_Flags: TypeAlias = NDArray[np.bool_]


class LayerScores(TypedDict):
    """One layer over all facts.

    ``picked`` is the share of facts with the truth strictly first, so that ties never pass for knowledge.
    ``auc_interval`` is None with fewer than two facts.
    """

    layer: int
    picked: float
    above_chance: float
    above_chance_interval: list[float]
    p_above: float
    auc: float
    auc_interval: list[float] | None


def layer_scores(readings: Sequence[Sequence[LayerReading]], *, seed: int = 0) -> list[LayerScores]:
    """Return the scores of each layer.

    Args:
        readings: What `logit_lens` read for each fact, one fact at least; each has alternates, of which no two begin
            with the same token.
        seed: Seed of the bootstrap.
    """
    return [_layer_scores(facts, seed) for facts in zip(*readings, strict=True)]


def best_layer_p(readings: Sequence[Sequence[LayerReading]], *, seed: int = 0) -> float:
    """Return how likely the layer that is right most often is right so often by guessing, all layers considered.

    Exact up to ``MOST_COUNTED`` ways to choose the truths; else of as many that are drawn, the one at hand counted
    among them.

    Args:
        readings: As for `layer_scores`.
        seed: Seed of the draws.
    """
    first = [np.array([_first(layer) for layer in layers]) for layers in readings]
    options = [each.shape[1] for each in first]
    all_of_them = prod(options) <= MOST_COUNTED
    if all_of_them:
        truths = np.array(list(product(*map(range, options))))
    else:
        truths = np.random.default_rng(seed).integers(0, options, size=(MOST_COUNTED, len(options)))
    found = np.sum([each[:, 0] for each in first], axis=0).max()
    right = np.zeros((len(readings[0]), len(truths)), dtype=np.int64)
    for place, each in enumerate(first):
        right += each[:, truths[:, place]]
    as_many = int((right.max(axis=0) >= found).sum())
    return as_many / len(truths) if all_of_them else (1 + as_many) / (1 + len(truths))


def _layer_scores(facts: Sequence[LayerReading], seed: int) -> LayerScores:
    chances = [1 / (1 + len(fact["alternates"])) for fact in facts]
    chance = sum(chances) / len(chances)
    right = sum(bool(_first(fact)[0]) for fact in facts)
    bounds = stats.binomtest(right, len(facts)).proportion_ci(LEVEL, method="exact")
    picked, low, high = ((share - chance) / (1 - chance) for share in (right / len(facts), bounds.low, bounds.high))
    auc = mean_interval(((place, _outranked(fact)) for place, fact in enumerate(facts)), seed=seed)
    return {
        "layer": facts[0]["layer"],
        "picked": right / len(facts),
        "above_chance": picked,
        "above_chance_interval": [low, high],
        "p_above": chance_tails(right, chances)[1],
        "auc": auc.value or 0.0,
        "auc_interval": None if auc.low is None or auc.high is None else [auc.low, auc.high],
    }


def _ranks(layer: LayerReading) -> list[int]:
    """Return the rank of each option's first token, the truth's first."""
    return [layer["answer"]["rank"], *(each["rank"] for each in layer["alternates"].values())]


def _first(layer: LayerReading) -> _Flags:
    """Return for each option whether it stands before all others; of options that share the first place none does."""
    ranks = np.array(_ranks(layer))
    best: _Flags = (ranks == ranks.min()) & ((ranks == ranks.min()).sum() == 1)
    return best


def _outranked(layer: LayerReading) -> float:
    own, *others = _ranks(layer)
    return sum((own < other) + 0.5 * (own == other) for other in others) / len(others)
