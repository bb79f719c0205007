"""Membership inference: does the likelihood of the forgotten texts still tell them from texts never taught?

Each attack gives a text one score that is higher for texts the model was trained on. Members are the forget texts,
non-members texts of the same kind that nobody trained: of a benchmark, or valid alternates that were held out. Of a
fact's own alternates 0.5 is what ideal forgetting looks like, and an AUC *below* it is no success but over-unlearning:
the texts stand out by being too unlikely. Where there is a retrain reference its AUC is the target instead, which two
sets of texts by themselves may well put elsewhere (``lune.metrics.gaps``). Only the member-higher reading of a score is
taken, so that all this stays visible.

With log p_t the log-probability of token t given those before it, n tokens in a text x:

    loss             (1/n) sum_t log p_t                            (Yeom et al. 2018), a mean, not a sum
    zlib             loss / bytes of zlib(x) in UTF-8               (Carlini et al. 2021), with the same mean
    min_k            mean of the lowest k = 20 % of log p_t         (Shi et al., arXiv 2310.16789)
    min_k_plus_plus  mean of the lowest 20 % of (log p_t - mu_t) / sigma_t   (Zhang et al., arXiv 2404.02936)

where mu_t and sigma_t are mean and standard deviation of log p under the model's own distribution at t. These need the
model's token scores alone; ``lune.metrics.privacy`` has those that need more, a reference model or gradients.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lune.language_model import TokenScores
from lune.metrics.intervals import RESAMPLES, Floats, draw_counts, interval_of, mean_interval
from lune.records import Interval

LOWEST_SHARE = 0.2  # k of min-k and min-k++, where a benchmark has no other
_LEAST_DEVIATION = 1e-6  # a model certain of its token has sigma 0; open-unlearning's least is 1e-3

ScoredText = tuple[str, TokenScores]
TwoSides = tuple[Sequence[float], Sequence[float]]


def loss_score(text: str, scores: TokenScores, lowest: float = LOWEST_SHARE) -> float:
    """Return the mean log-probability a token, in nats; ``text`` and ``lowest`` are not used."""
    return scores.mean_log_prob


def zlib_score(text: str, scores: TokenScores, lowest: float = LOWEST_SHARE) -> float:
    """Return the mean log-probability a token over the zlib size of ``text`` in bytes; ``lowest`` is not used."""
    return scores.mean_log_prob / len(zlib.compress(text.encode("utf-8")))


def min_k_score(text: str, scores: TokenScores, lowest: float = LOWEST_SHARE) -> float:
    """Return the mean of the ``lowest`` share of the log-probabilities, at least one token; ``text`` is not used."""
    return _mean_of_lowest(scores.log_probs, lowest)


def min_k_plus_plus_score(text: str, scores: TokenScores, lowest: float = LOWEST_SHARE) -> float:
    """Return the mean of the ``lowest`` share of the standardised log-probabilities; ``text`` is not used."""
    return _mean_of_lowest(
        [
            (log_prob - mean) / max(deviation, _LEAST_DEVIATION)
            for log_prob, mean, deviation in zip(scores.log_probs, scores.means, scores.deviations, strict=True)
        ],
        lowest,
    )


Attack = Callable[[str, TokenScores, float], float]
ATTACKS: Mapping[str, Attack] = {
    "loss": loss_score,
    "zlib": zlib_score,
    "min_k": min_k_score,
    "min_k_plus_plus": min_k_plus_plus_score,
}


def membership(
    members: Sequence[ScoredText],
    non_members: Sequence[ScoredText],
    *,
    further: Mapping[str, TwoSides] | None = None,
    lowest: float = LOWEST_SHARE,
    seed: int = 0,
) -> dict[str, dict[str, float | None]]:
    """Return how well each attack tells the two kinds of text apart.

    Args:
        members: Forget texts with their token scores.
        non_members: Texts of the same kind that were never taught, with theirs.
        further: Scores of further attacks by name, those of members and those of non-members, higher for members.
        lowest: Share of the tokens that min-k and min-k++ look at.
        seed: Seed of the bootstrap.

    Returns:
        For each attack ``auc``, ``balanced_accuracy``, and the 95 % interval of the AUC by bootstrap over the texts of
        each side, ``auc_low`` and ``auc_high``; None where either side has no text to score. Texts without a token, or
        with a likelihood that is not a number, are left out.
    """
    sides = {
        name: (_attack_scores(each, members, lowest), _attack_scores(each, non_members, lowest))
        for name, each in ATTACKS.items()
    }
    for name, (positive, negative) in (further or {}).items():
        sides[name] = (_without_nan(positive), _without_nan(negative))
    return {name: _told_apart(positive, negative, seed) for name, (positive, negative) in sides.items()}


def _told_apart(positive: Sequence[float], negative: Sequence[float], seed: int) -> dict[str, float | None]:
    interval = auc_interval(positive, negative, seed=seed)
    return {
        "auc": interval.value,
        "balanced_accuracy": best_balanced_accuracy(positive, negative),
        "auc_low": interval.low,
        "auc_high": interval.high,
    }


def membership_within(
    groups: Sequence[tuple[Sequence[ScoredText], Sequence[ScoredText]]],
    *,
    lowest: float = LOWEST_SHARE,
    seed: int = 0,
) -> dict[str, dict[str, float | None]]:
    """Return the same with every member compared with the non-members of its own group (fact) only.

    Facts differ in how likely their sentences are, by far more than true and wrong answers of one fact do; pooled,
    these differences would hide what an attacker sees who asks about one fact. The AUC is the mean of the groups'
    AUCs, its interval is over groups; for the balanced accuracy the scores are taken relative to the mean non-member
    of the group. A single group is `membership`; one without a text to score on either side is left out.
    """
    if len(groups) == 1:
        return membership(*groups[0], lowest=lowest, seed=seed)
    results: dict[str, dict[str, float | None]] = {}
    for name, attack in ATTACKS.items():
        scored = [
            (_attack_scores(attack, members, lowest), _attack_scores(attack, others, lowest))
            for members, others in groups
        ]
        pairs = [(positive, negative) for positive, negative in scored if positive and negative]
        aucs = [(place, float(_wins(positive, negative).mean())) for place, (positive, negative) in enumerate(pairs)]
        interval = mean_interval(aucs, seed=seed)
        middles = [sum(negative) / len(negative) for _, negative in pairs]
        usable = [(middle, *pair) for middle, pair in zip(middles, pairs, strict=True) if math.isfinite(middle)]
        results[name] = {
            "auc": interval.value,
            "balanced_accuracy": best_balanced_accuracy(
                [score - middle for middle, positive, _ in usable for score in positive],
                [score - middle for middle, _, negative in usable for score in negative],
            ),
            "auc_low": interval.low,
            "auc_high": interval.high,
        }
    return results


def auc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """Return the chance that a member scores higher than a non-member, ties counting half (Mann-Whitney U / mn)."""
    if len(positive) == 0 or len(negative) == 0:
        return None
    return float(_wins(positive, negative).mean())


def auc_interval(positive: Sequence[float], negative: Sequence[float], *, seed: int = 0) -> Interval:
    """Return the AUC with its interval by bootstrap over members and over non-members, drawn apart."""
    value = auc(positive, negative)
    if value is None or min(len(positive), len(negative)) < 2:  # noqa: PLR2004
        return Interval(value)
    generator = np.random.default_rng(seed)
    times_positive = draw_counts(len(positive), generator, RESAMPLES)
    times_negative = draw_counts(len(negative), generator, RESAMPLES)
    draws = ((times_positive @ _wins(positive, negative)) * times_negative).sum(axis=1)
    return interval_of(value, draws / (len(positive) * len(negative)))


def best_balanced_accuracy(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """Return the best mean of true positive and true negative rate over thresholds, calling members what scores higher.

    Only thresholds between two scores are tried: those beyond all scores call every text the same and would give 0.5
    to an attack that is always wrong. Where all scores are equal there is no threshold, and it is 0.5.
    """
    if len(positive) == 0 or len(negative) == 0:
        return None
    members, others = np.sort(np.asarray(positive)), np.sort(np.asarray(negative))
    thresholds = np.unique(np.concatenate([members, others]))[1:]
    if len(thresholds) == 0:
        return 0.5
    true_positive = 1.0 - np.searchsorted(members, thresholds, side="left") / len(members)
    true_negative = np.searchsorted(others, thresholds, side="left") / len(others)
    return float(((true_positive + true_negative) / 2).max())


def _wins(positive: Sequence[float], negative: Sequence[float]) -> Floats:
    """Return members x non-members: 1 where the member scores higher, 0.5 for a tie, 0 where it scores lower."""
    above, below = np.asarray(positive)[:, None], np.asarray(negative)[None, :]
    wins: Floats = (above > below) + 0.5 * (above == below)
    return wins


def _attack_scores(attack: Attack, texts: Sequence[ScoredText], lowest: float) -> list[float]:
    return [attack(text, scores, lowest) for text, scores in texts if _is_defined(scores)]


def _without_nan(scores: Sequence[float]) -> list[float]:
    return [score for score in scores if not math.isnan(score)]


def _is_defined(scores: TokenScores) -> bool:
    """Return whether there is a token and no likelihood of a diverged model, which is not a number."""
    values = (*scores.log_probs, *scores.means, *scores.deviations)
    return bool(scores.log_probs) and not any(math.isnan(value) for value in values)


def _mean_of_lowest(values: Sequence[float], lowest: float) -> float:
    count = max(1, int(len(values) * lowest))
    return sum(sorted(values)[:count]) / count
