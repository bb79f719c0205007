"""Reading the per-sample logs that other projects publish of their TOFU evaluations.

locuslab/tofu writes ``eval_log_aggregated.json``: one object a set, in it ``avg_gt_loss``, ``avg_paraphrased_loss`` and
``rougeL_recall`` (index to number) and ``average_perturb_loss`` (index to list). open-unlearning writes
``TOFU_EVAL.json``: one object a metric, such as ``retain_Q_A_PARA_Prob``, with its mean ``agg_value`` and in
``value_by_index`` the ``avg_loss`` (a list for the wrong answers) or ``rougeL_recall`` of each question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lune.errors import RequestError

SetName = Literal["forget", "retain", "real_authors", "world_facts"]
OPTION_SETS: tuple[SetName, ...] = ("real_authors", "world_facts")
"""The sets without paraphrases, whose probability is normalised over right and wrong answers."""
EPSILON = 1e-10
"""What open-unlearning adds to every denominator; it shows where the right answer is less likely than about 1e-5."""

_TOFU_SETS: dict[SetName, str] = {
    "forget": "eval_log_forget.json",
    "retain": "eval_log.json",
    "real_authors": "eval_real_author_wo_options.json",
    "world_facts": "eval_real_world_wo_options.json",
}
_OPEN_UNLEARNING_SETS: dict[SetName, str] = {
    "forget": "forget",
    "retain": "retain",
    "real_authors": "ra",
    "world_facts": "wf",
}
_Row = Mapping[str, Any]


@dataclass(frozen=True)
class SetLog:
    """The values of one set, each by the question's index; empty where the log has none.

    Attributes:
        answer_losses: Loss of the answer, a token, in nats.
        recalls: ROUGE-L recall of the greedy answer.
        right_losses: Loss of the right answer in the truth ratio.
        wrong_losses: Losses of the wrong answers.
        stored_scores: The truth ratios as the log itself has them, for logs without the losses. Older versions of
            open-unlearning store R, newer ones 1 / (1 + R): fit only to be compared with those of the same version.
    """

    answer_losses: Mapping[str, float] = field(default_factory=dict)
    recalls: Mapping[str, float] = field(default_factory=dict)
    right_losses: Mapping[str, float] = field(default_factory=dict)
    wrong_losses: Mapping[str, list[float]] = field(default_factory=dict)
    stored_scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Log:
    """One evaluation.

    Attributes:
        source: The project that wrote it: ``locuslab/tofu`` or ``open-unlearning``.
        epsilon: What that project adds to denominators.
        sets: The sets that the log has.
    """

    source: str
    epsilon: float
    sets: dict[SetName, SetLog]


def read_log(path: str | Path) -> Log:
    """Read a log of either project, told apart by their keys.

    Raises:
        RequestError: When there is no such file, or it is no such log.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RequestError(f"'{path}' cannot be read as a TOFU log: {error}", hint=_HINT) from error
    if not isinstance(content, dict):
        raise RequestError(f"'{path}' holds no JSON object, so it is no TOFU log.", hint=_HINT)
    try:
        return _read(content, path)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise RequestError(
            f"'{path}' has another shape than a TOFU log: {type(error).__name__}: {error}.", hint=_HINT
        ) from error


_HINT = "give an eval_log_aggregated.json of locuslab/tofu or a TOFU_EVAL.json of open-unlearning"


def _read(content: _Row, path: str | Path) -> Log:
    if present := {name: content[key] for name, key in _TOFU_SETS.items() if key in content}:
        log = Log("locuslab/tofu", 0.0, {name: _tofu_set(part) for name, part in present.items()})
    else:
        sets = {name: _open_unlearning_set(content, name, prefix) for name, prefix in _OPEN_UNLEARNING_SETS.items()}
        log = Log("open-unlearning", EPSILON, {name: each for name, each in sets.items() if each != SetLog()})
    if not log.sets:
        raise RequestError(
            f"'{path}' has none of the sets of a TOFU log; it has: {', '.join(sorted(content)[:8]) or 'nothing'}.",
            hint=_HINT,
        )
    problems = [
        f"{name}: {len(each.right_losses)} right answers, but wrong answers for {len(each.wrong_losses)} questions"
        for name, each in log.sets.items()
        if each.right_losses.keys() != each.wrong_losses.keys()
    ]
    problems += [
        f"{name}: {len(each.answer_losses)} answers, but wrong answers for {len(each.wrong_losses)} questions"
        for name, each in log.sets.items()
        if name in OPTION_SETS and each.answer_losses.keys() != each.wrong_losses.keys()
    ]
    if problems:
        raise RequestError(f"'{path}' has questions without all their answers.", hint=_HINT, problems=problems)
    return log


def _tofu_set(part: _Row) -> SetLog:
    return SetLog(
        answer_losses=_numbers(part["avg_gt_loss"]),
        recalls=_numbers(part["rougeL_recall"]),
        right_losses=_numbers(part["avg_paraphrased_loss"]),
        wrong_losses={index: [float(loss) for loss in each] for index, each in part["average_perturb_loss"].items()},
    )


def _open_unlearning_set(content: _Row, name: SetName, prefix: str) -> SetLog:
    answers = _values(content, f"{prefix}_Q_A_Prob", "avg_loss")
    # Real authors and world facts have no paraphrases: their answers are the right ones.
    right = answers if name in OPTION_SETS else _values(content, f"{prefix}_Q_A_PARA_Prob", "avg_loss")
    wrong = _values(content, f"{prefix}_Q_A_PERT_Prob", "avg_loss")
    # A question that any of them lacks was left out of the truth ratio there too.
    both = [index for index in right if index in wrong]
    return SetLog(
        answer_losses=_numbers({index: answers[index] for index in (both if name in OPTION_SETS else answers)}),
        recalls=_numbers(_values(content, f"{prefix}_Q_A_ROUGE", "rougeL_recall")),
        right_losses=_numbers({index: right[index] for index in both}),
        wrong_losses={index: [float(loss) for loss in _as_list(wrong[index])] for index in both},
        stored_scores=_numbers(_values(content, "forget_truth_ratio", "score")) if name == "forget" else {},
    )


def _values(content: _Row, metric: str, name: str) -> dict[str, Any]:
    """Return ``name`` of each question of a metric, without those that could not be scored."""
    rows = content.get(metric, {}).get("value_by_index", {})
    return {index: row[name] for index, row in rows.items() if row is not None and row[name] is not None}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {index: float(value) for index, value in values.items()}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
