"""What the answers look like: refusals, adopted alternates, fluency, degenerate answers.

USR counts a refusal, a false fact and gibberish alike as forgotten. These rates tell them apart. All are taken over
*every* probe handed in, known fact or not, whatever its kind; only the adopted alternates are over the direct and
paraphrase probes of known facts. Intervals are by bootstrap over facts, and over probes where they belong to no fact.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from lune.metrics.forgetting import When, answer_of
from lune.metrics.intervals import mean_interval
from lune.metrics.retention import cluster_of
from lune.records import Answered, Interval
from lune.text import contains, is_degenerate, is_refusal

# Words and punctuation marks; RWKU cuts with nltk.word_tokenize, which keeps the marks as tokens too.
_TOKEN = re.compile(r"\w+|[^\w\s]")
# RWKU's weights for bigrams and trigrams; their mean is 1, so the weighted mean is still in bits.
_NGRAM_WEIGHTS = {2: 2 / 3, 3: 4 / 3}


def refusal_rate(answered: Sequence[Answered], *, when: When = "after", seed: int = 0) -> Interval:
    """Return the share of all answers that decline to answer."""
    return _mean_over_answers(answered, when, seed, lambda answer: float(is_refusal(answer)))


def degenerate_rate(answered: Sequence[Answered], *, when: When = "after", seed: int = 0) -> Interval:
    """Return the share of all answers that are empty or stuck in repetition."""
    return _mean_over_answers(answered, when, seed, lambda answer: float(is_degenerate(answer)))


def fluency(answered: Sequence[Answered], *, when: When = "after", seed: int = 0) -> Interval:
    """Return the mean n-gram entropy of all answers, in bits.

    It grows with the length of the answers (one or two words have none), so it is only to be compared with the value
    before, on the same probes.
    """
    return _mean_over_answers(answered, when, seed, ngram_entropy)


def adopted_alternate_rate(
    answered: Sequence[Answered],
    known_ids: Collection[str],
    alternates: Mapping[str, Sequence[str]],
    *,
    when: When = "after",
    seed: int = 0,
) -> Interval:
    """Return the share of answers to direct and paraphrase probes of known facts that hold a trained alternate.

    Args:
        answered: Probes with their answers.
        known_ids: Ids of the facts that the base model answered rightly.
        alternates: Fact id to the wrong answers it was trained with; facts without any are not counted.
        when: Answers before or after unlearning.
        seed: Seed of the bootstrap over facts.
    """
    samples = [
        (item.probe.fact_id, float(contains(answer_of(item, when), alternates[item.probe.fact_id])))
        for item in answered
        if item.probe.kind in ("direct", "paraphrase")
        and item.probe.fact_id is not None
        and item.probe.fact_id in known_ids
        and alternates.get(item.probe.fact_id)
    ]
    return mean_interval(samples, seed=seed)


def ngram_entropy(text: str) -> float:
    """Return the weighted n-gram entropy of one text, in bits.

    (2/3 H_2 + 4/3 H_3) / 2 with H_n = - sum_g f(g) log2 f(g) over the n-grams g of the text and their frequencies f, as
    RWKU (arXiv 2406.10890) does after ROME (arXiv 2202.05262). A text shorter than n tokens has H_n = 0.
    """
    tokens = _TOKEN.findall(text)
    weighted = [weight * _entropy(tokens, length) for length, weight in _NGRAM_WEIGHTS.items()]
    return sum(weighted) / len(weighted)


def _entropy(tokens: Sequence[str], length: int) -> float:
    counts = Counter(tuple(tokens[start : start + length]) for start in range(len(tokens) - length + 1))
    total = counts.total()
    return -sum(count / total * math.log2(count / total) for count in counts.values()) if len(counts) > 1 else 0.0


def _mean_over_answers(
    answered: Sequence[Answered], when: When, seed: int, measure: Callable[[str], float]
) -> Interval:
    return mean_interval([(cluster_of(item), measure(answer_of(item, when))) for item in answered], seed=seed)
