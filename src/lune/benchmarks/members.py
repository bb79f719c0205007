"""The membership attacks on a benchmark's own texts that take more than token scores: gradients, a retrained model.

Beside the attacks that every run makes (``lune.metrics.membership``), on the same members and non-members:

    gradnorm   minus the norm of the gradient of a text's mean loss in the last decoder layer
    reference  mean log p of a text less that under the model ``reference``, which was never taught the members

Both come from ``lune.metrics.privacy``, with their papers. The mean of the second leaves out the end of turn, the loss
of the first counts it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lune.benchmarks.task import Task, TaughtText

if TYPE_CHECKING:
    from lune.models import LoadedModel

REFERENCE = "reference"
SIDES = ("members", "non_members")

Values = Sequence[float | None]
"""A score of each text; None where it is no number."""
_UNKNOWN: tuple[Values, Values] = ([], [])


def measure_members(model: LoadedModel, task: Task) -> dict[str, dict[str, list[float | None]]]:
    """Return the mean log-probability and the gradient-norm score of each member and non-member, answers to prompts."""
    return {"members": _measure(model, task.members), "non_members": _measure(model, task.non_members)}


def member_scores(measured: Mapping[str, Mapping[str, Any] | None]) -> dict[str, dict[str, float | None]]:
    """Return AUC and best balanced accuracy of both attacks for each model, 1 where members stand out as taught.

    Args:
        measured: What `measure_members` returned, by model; None for a model measured before there was this measure.

    Returns:
        By model ``mia_gradnorm_*`` and, where the model ``reference`` was measured, ``mia_reference_*``; these are
        None for the reference itself, of which they would compare a model with itself.
    """
    result: dict[str, dict[str, float | None]] = {}
    for column, own in measured.items():
        row = _told_apart("gradnorm", [own[side]["gradnorm"] for side in SIDES] if own else _UNKNOWN)
        if REFERENCE in measured:
            other = measured[REFERENCE] if column != REFERENCE else None
            row |= _told_apart("reference", _above(own, other) if own and other else _UNKNOWN)
        result[column] = row
    return result


def _measure(model: LoadedModel, texts: Sequence[TaughtText]) -> dict[str, list[float | None]]:
    from lune.metrics.privacy import gradient_norm_scores

    scored = [each.without_end() for each in model.score(texts)]
    return {
        "mean_log_prob": [_number(each.mean_log_prob) if each.log_probs else None for each in scored],
        "gradnorm": [_number(score) for score in gradient_norm_scores(model, texts)],
    }


def _above(own: Mapping[str, Any], other: Mapping[str, Any]) -> list[Values]:
    """Return by side how far each text's mean log-probability is above that of another model."""
    pairs = [zip(*(each[side]["mean_log_prob"] for each in (own, other)), strict=True) for side in SIDES]
    return [[None if None in pair else pair[0] - pair[1] for pair in side] for side in pairs]


def _told_apart(attack: str, sides: Sequence[Values]) -> dict[str, float | None]:
    from lune.metrics.membership import auc, best_balanced_accuracy

    members, others = ([value for value in side if value is not None] for side in sides)
    return {
        f"mia_{attack}_auc": auc(members, others),
        f"mia_{attack}_balanced_accuracy": best_balanced_accuracy(members, others),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
