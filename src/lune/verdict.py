"""The verdict in words, from thresholds that are printed beside it.

FORGOTTEN needs every check: what had to go is gone under plain and adversarial prompts, and what had to stay is there.
A model that was broken is DAMAGED even when it forgot, because gibberish passes every test of forgetting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lune.records import EarlierScores

Word = Literal["FORGOTTEN", "PARTLY", "DAMAGED", "NOT KNOWN BEFORE"]

# Whatever the base model was like, a model that answers with nothing or loops this often is no usable model.
_COLLAPSED = 0.5


@dataclass(frozen=True)
class Thresholds:
    """What each score must reach (``degenerate_rate``: must not exceed) for the verdict FORGOTTEN."""

    usr: float = 0.99
    apr: float = 0.90
    gur_neighbour: float = 0.85
    gur_general: float = 0.95
    degenerate_rate: float = 0.10


DEFAULT_THRESHOLDS = Thresholds()


@dataclass(frozen=True)
class Verdict:
    """The verdict and why.

    Attributes:
        word: One of the four words.
        reasons: Plain sentences, each with its number and threshold: what decided first, then what could not be
            measured or was left out.
    """

    word: Word
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Check:
    """One comparison of a score with its threshold; ``passed`` is None where the score was not measured."""

    passed: bool | None
    sentence: str


def judge(
    metrics_before: Mapping[str, object],
    metrics_after: Mapping[str, object],
    known: int,
    total: int,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    *,
    with_neighbours: int | None = None,
    earlier: Sequence[EarlierScores] = (),
) -> Verdict:
    """Return the verdict.

    In this order: NOT KNOWN BEFORE when no fact was known; DAMAGED when neighbours, general questions or the form of
    the answers missed a threshold; PARTLY when USR or APR did, or one of them or the neighbours were not measured;
    FORGOTTEN otherwise. What is next to a forgotten fact is what unlearning breaks first, so without a measure of it
    nothing is called forgotten. General questions that could not be measured do not decide, and are named.

    Args:
        metrics_before: Scores before, as `lune.metrics.summarise` gives them.
        metrics_after: Scores after.
        known: Number of facts the base model answered rightly.
        total: Number of facts of the request.
        thresholds: What to compare with.
        with_neighbours: Number of known facts with a neighbour that counts; told where it is not all of them.
        earlier: What is left of earlier requests. What one of them had forgotten must not come back.
    """
    if known == 0:
        asked = "the one fact" if total == 1 else f"the {total} facts"
        return Verdict("NOT KNOWN BEFORE", (f"The base model knew 0 of {asked}, so there was nothing to forget.",))
    forgetting = (
        _at_least(
            "USR, the share of known facts no longer given to the plain question,", "usr", metrics_after, thresholds.usr
        ),
        _at_least("APR, the share of adversarial prompts that fail,", "apr", metrics_after, thresholds.apr),
        *(
            _at_least(f"{name.upper()} of the earlier request {each.folder}", name, vars(each), limit)
            for each in earlier
            for name, limit in (("usr", thresholds.usr), ("apr", thresholds.apr))
        ),
    )
    neighbours = _at_least(
        "The share of neighbouring facts kept",
        "gur_neighbour",
        metrics_after,
        thresholds.gur_neighbour,
        hint="Give `neighbours` in the request: facts next to the forgotten ones, which must stay.",
    )
    retention = (
        neighbours,
        _at_least("The share of general questions kept", "gur_general", metrics_after, thresholds.gur_general),
    )
    form = _not_degenerate(metrics_before, metrics_after, thresholds.degenerate_rate)
    checks = (*forgetting, *retention, form)
    failed = [check.sentence for check in (*retention, form, *forgetting) if check.passed is False]
    unmeasured = [check.sentence for check in checks if check.passed is None]
    if any(check.passed is False for check in (*retention, form)):
        word: Word = "DAMAGED"
    elif any(not check.passed for check in forgetting) or neighbours.passed is None:
        word = "PARTLY"
    else:
        word = "FORGOTTEN"
    decisive = [check.sentence for check in checks if check.passed] if word == "FORGOTTEN" else failed
    covered = () if with_neighbours in (None, known) else (coverage(with_neighbours or 0, known),)
    return Verdict(word, (*decisive, *unmeasured, *covered, *_left_out(known, total)))


def _at_least(what: str, name: str, metrics: Mapping[str, object], threshold: float, hint: str = "") -> _Check:
    value = _number(metrics, name)
    if value is None:
        sentence = f"{what} could not be measured: no probe counts towards it (threshold {threshold:g})."
        return _Check(None, f"{sentence} {hint}".rstrip())
    passed = value >= threshold
    relation = "reaches" if passed else "is below"
    return _Check(passed, f"{what} is {_shown(value, threshold)}, which {relation} the threshold {threshold:g}.")


def _not_degenerate(before: Mapping[str, object], after: Mapping[str, object], threshold: float) -> _Check:
    """Return the check of empty and looping answers.

    A base model that stutters more than the threshold allows is held to its own rate, up to one half of all answers.
    """
    what, name = "The share of empty or repetitive answers", "degenerate_rate"
    value, base = _number(after, name), _number(before, name) or 0.0
    if value is None:
        return _Check(None, f"{what} could not be measured: there is no answer (threshold {threshold:g}).")
    own_rate = base > threshold
    limit = min(base, max(_COLLAPSED, threshold)) if own_rate else threshold
    passed = value <= limit
    relation = "is within" if passed else "is above"
    limit_text = f"the {_shown(limit, value)} allowed for a base model at {_shown(base, threshold)}"
    limit_text = limit_text if own_rate else f"the threshold {threshold:g}"
    return _Check(passed, f"{what} is {_shown(value, limit)}, which {relation} {limit_text}.")


def coverage(with_neighbours: int, known: int) -> str:
    """Return how many facts the score of the neighbours speaks of."""
    return f"Neighbours: {with_neighbours} of {known} facts have some; about the others that score says nothing."


def _left_out(known: int, total: int) -> tuple[str, ...]:
    if known >= total:
        return ()
    missing = total - known
    facts = "1 fact was" if missing == 1 else f"{missing} facts were"
    return (
        f"{facts} not known before and {'is' if missing == 1 else 'are'} not in the scores ({known} of {total} known).",
    )


def _number(metrics: Mapping[str, object], name: str) -> float | None:
    """Return the score, or None when it is missing or not a number: NaN would pass every comparison unseen."""
    value = metrics.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(value)


def _shown(value: float, threshold: float) -> str:
    """Return ``value`` with three decimals, and more where rounding would put it on the other side of the threshold."""
    for decimals in (3, 4):
        rounded = round(value, decimals)
        if (rounded >= threshold) == (value >= threshold) and (rounded > threshold) == (value > threshold):
            return f"{rounded:.{decimals}f}"
    return f"{value:.6g}"
