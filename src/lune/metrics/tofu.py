"""TOFU's scores: probability, ROUGE-L recall, truth ratio, model utility, forget quality (arXiv 2401.06121).

A *loss* here is the mean negative log-likelihood a token of an answer given its question, in nats; its probability is
exp(-loss), the likelihood normalised by length. The truth ratio of a question compares n wrong answers, of losses l_i,
with a paraphrase of the right one, of loss l:

    geometric   R = exp(-mean_i l_i) / exp(-l)     aggregate_eval_stat.py of locuslab/tofu, and open-unlearning
    arithmetic  R = mean_i exp(-l_i) / exp(-l)     utils.py of locuslab/tofu, and the paper's equation

Both are published under the one name and differ, so the form is named wherever a number rests on it. Forget quality
uses the geometric form in both projects; it is the same for R and 1/R, whose ranks mirror each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict, overload

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lune.errors import ConfigError
from lune.metrics.tofu_logs import EPSILON, OPTION_SETS, Log, SetLog, SetName, read_log

TruthRatioForm = Literal["geometric", "arithmetic"]
FORMS: tuple[TruthRatioForm, ...] = ("geometric", "arithmetic")
KEPT_SETS: tuple[SetName, ...] = ("retain", "real_authors", "world_facts")

_Floats = NDArray[np.float64]


class SetScores(TypedDict):
    """The scores of one set, from 0 to 1; None where there is nothing to take them from."""

    probability: float | None
    rouge_l_recall: float | None
    truth_ratio_geometric: float | None
    truth_ratio_arithmetic: float | None
    right_share: float | None


class ForgetQuality(TypedDict):
    """The two-sample Kolmogorov-Smirnov test: its p-value, which is the score, and its statistic."""

    p_value: float | None
    statistic: float | None


class LogScores(TypedDict):
    """All scores of a stored evaluation, `from_logs`."""

    source: str
    sets: dict[SetName, SetScores]
    model_utility_geometric: float | None
    model_utility_arithmetic: float | None
    forget_quality: float | None
    forget_quality_statistic: float | None


def probability(losses: Sequence[float]) -> float | None:
    """Return the mean of exp(-loss) over questions; None without any, or where a loss is not a number."""
    return _mean(_probabilities(losses))


def normalised_probability(
    right_losses: Sequence[float], wrong_losses: Sequence[Sequence[float]], *, epsilon: float = 0.0
) -> float | None:
    """Return the mean over questions of p / (p + sum of the wrong answers' p), for real authors and world facts.

    Args:
        right_losses: Loss of each question's right answer.
        wrong_losses: Losses of each question's wrong answers.
        epsilon: Added to the denominator; open-unlearning adds ``EPSILON``.
    """
    right = _probabilities(right_losses)
    wrong = np.array([float(_probabilities(losses).sum()) for losses in wrong_losses], dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _mean(right / (right + wrong + epsilon))


def rouge_l_recall(answer: str, expected: str) -> float:
    """Return the longest common subsequence of stemmed words over the words of ``expected``, as TOFU takes it.

    Raises:
        ConfigError: When the rouge-score package, of the extra ``bench``, is not installed.
    """
    return float(rouge_scorer().score(expected, answer)["rougeL"].recall)


def truth_ratios(
    right_losses: Sequence[float],
    wrong_losses: Sequence[Sequence[float]],
    form: TruthRatioForm = "geometric",
    *,
    epsilon: float = 0.0,
) -> list[float]:
    """Return R of each question: below 1 where the right answer is likelier than the wrong ones.

    Args:
        right_losses: Loss of each question's right answer: the paraphrase for the forget and retain set, the answer
            itself for real authors and world facts.
        wrong_losses: Losses of each question's wrong (perturbed) answers, at least one each.
        form: Which mean of the wrong answers is taken.
        epsilon: Added to the right answer's probability; open-unlearning adds ``EPSILON``.

    Raises:
        ConfigError: When there is no such form.
    """
    if form not in FORMS:
        raise ConfigError(f"There is no truth ratio '{form}'; allowed: {', '.join(FORMS)}.", hint=f"use '{FORMS[0]}'")
    ratios = []
    with np.errstate(over="ignore", invalid="ignore"):
        for right, wrong in zip(right_losses, wrong_losses, strict=True):
            exponents = -np.asarray(wrong, dtype=np.float64)
            likelihood = exponents.mean(keepdims=True) if form == "geometric" else exponents
            if epsilon:
                ratio = np.exp(likelihood).mean() / (np.exp(-right) + epsilon)
            else:  # one exponent: two tiny probabilities would both become 0
                ratio = np.exp(likelihood + right).mean()
            ratios.append(float(ratio))
    return ratios


def forget_truth_ratio(ratios: Sequence[float], *, epsilon: float = 0.0) -> float | None:
    """Return the mean of min(R, 1/R): 1 where right and wrong answers are equally likely."""
    values = np.asarray(ratios, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _mean(np.minimum(values, 1 / (values + epsilon)))


def retain_truth_ratio(ratios: Sequence[float]) -> float | None:
    """Return the mean of max(0, 1 - R): 1 where the right answers are likelier by far. For every set that stays."""
    return _mean(np.maximum(0.0, 1.0 - np.asarray(ratios, dtype=np.float64)))


def right_share(right_losses: Sequence[float], wrong_losses: Sequence[Sequence[float]]) -> float | None:
    """Return the mean of p / (p + p_wrong), p_wrong being the geometric mean of the wrong answers' probabilities.

    Newer versions of open-unlearning call this the forget truth ratio ("prob_mean"). It is 1 / (1 + R), here with
    their epsilon in the denominator.
    """
    right = _probabilities(right_losses)
    wrong = _probabilities([float(np.mean(losses)) for losses in wrong_losses])
    return _mean(right / (right + wrong + EPSILON))


def score_set(
    answer_losses: Sequence[float],
    recalls: Sequence[float],
    right_losses: Sequence[float],
    wrong_losses: Sequence[Sequence[float]],
    *,
    kind: SetName,
    epsilon: float = 0.0,
) -> SetScores:
    """Return the scores of one of TOFU's four sets; None for what there are no values of.

    Args:
        answer_losses: Loss of each question's answer.
        recalls: ROUGE-L recall of each question's greedy answer.
        right_losses: Loss of each question's right answer in the truth ratio: the paraphrase, where there is one.
        wrong_losses: Losses of each question's wrong answers.
        kind: Which set it is. The truth ratio is best at 1 for the forget set and at 0 for the others; the probability
            of real authors and world facts is normalised over right and wrong answers.
        epsilon: Added to denominators; 0 as in locuslab/tofu, ``EPSILON`` as in open-unlearning.
    """
    ratio: dict[str, float | None] = {}
    for form in FORMS:
        ratios = truth_ratios(right_losses, wrong_losses, form, epsilon=epsilon)
        ratio[form] = forget_truth_ratio(ratios, epsilon=epsilon) if kind == "forget" else retain_truth_ratio(ratios)
    return {
        "probability": normalised_probability(answer_losses, wrong_losses, epsilon=epsilon)
        if kind in OPTION_SETS
        else probability(answer_losses),
        "rouge_l_recall": _mean(np.asarray(recalls, dtype=np.float64)),
        "truth_ratio_geometric": ratio["geometric"],
        "truth_ratio_arithmetic": ratio["arithmetic"],
        "right_share": right_share(right_losses, wrong_losses),
    }


def model_utility(sets: Mapping[SetName, SetScores], form: TruthRatioForm = "geometric") -> float | None:
    """Return the harmonic mean of probability, ROUGE and truth ratio on retain set, real authors and world facts.

    Args:
        sets: The scores of these three sets, as `score_set` gives them; a forget set beside them is not used.
        form: Which truth ratio is taken: geometric as in aggregate_eval_stat.py and open-unlearning, or arithmetic as
            in utils.py of locuslab/tofu.

    Returns:
        0 where any of the nine is 0, None where any could not be measured.
    """
    nine: list[float | None] = []
    for name in KEPT_SETS:
        scores = sets.get(name)
        ratio = scores and scores["truth_ratio_geometric" if form == "geometric" else "truth_ratio_arithmetic"]
        nine += [scores and scores["probability"], scores and scores["rouge_l_recall"], ratio]
    return _harmonic_mean(nine)


def forget_quality(ratios: Sequence[float], reference_ratios: Sequence[float]) -> ForgetQuality:
    """Return how well the truth ratios of the forget set agree with those of a model that never saw it.

    The p-value of the two-sample Kolmogorov-Smirnov test (exact up to 10,000 questions): near 1, the two models cannot
    be told apart by it; below 0.05 they can.

    Args:
        ratios: Geometric truth ratios of the unlearned model on the forget set.
        reference_ratios: The same of the retrain reference.
    """
    values, reference = np.asarray(ratios), np.asarray(reference_ratios)
    if not len(values) or not len(reference) or np.isnan(values).any() or np.isnan(reference).any():
        return {"p_value": None, "statistic": None}
    result = stats.ks_2samp(values, reference)
    return {"p_value": float(result.pvalue), "statistic": float(result.statistic)}


@overload
def from_logs(path_or_paths: str | Path, reference: str | Path | None = None) -> LogScores: ...


@overload
def from_logs(
    path_or_paths: list[str | Path] | list[str] | list[Path], reference: str | Path | None = None
) -> list[LogScores]: ...


def from_logs(
    path_or_paths: str | Path | list[str | Path] | list[str] | list[Path], reference: str | Path | None = None
) -> LogScores | list[LogScores]:
    """Return every score of TOFU evaluations that other projects stored, from their per-sample values.

    Args:
        path_or_paths: An ``eval_log_aggregated.json`` of locuslab/tofu or a ``TOFU_EVAL.json`` of open-unlearning, or
            several, each one evaluation.
        reference: Such a log of the retrain reference, for forget quality.

    Returns:
        The scores, or a list of them in the order of the paths. Each project's own arithmetic is followed, with its
        epsilon. What a log has no values for is None.

    Raises:
        RequestError: When a file is missing or is no such log.
    """
    against = read_log(reference) if reference is not None else None
    if isinstance(path_or_paths, str | Path):
        return _scores_of(read_log(path_or_paths), against)
    return [_scores_of(read_log(path), against) for path in path_or_paths]


def _scores_of(log: Log, reference: Log | None) -> LogScores:
    sets = {
        name: score_set(
            # In one order with the wrong answers, over which the probability of these sets is normalised.
            [each.answer_losses[index] for index in (each.right_losses if name in OPTION_SETS else each.answer_losses)],
            list(each.recalls.values()),
            *_ratio_losses(each),
            kind=name,
            epsilon=log.epsilon,
        )
        for name, each in log.sets.items()
    }
    quality: ForgetQuality = {"p_value": None, "statistic": None}
    if reference is not None and "forget" in log.sets and "forget" in reference.sets:
        own, other = log.sets["forget"], reference.sets["forget"]
        if own.right_losses and other.right_losses:
            quality = forget_quality(
                truth_ratios(*_ratio_losses(own), epsilon=log.epsilon),
                truth_ratios(*_ratio_losses(other), epsilon=reference.epsilon),
            )
        else:
            quality = forget_quality(list(own.stored_scores.values()), list(other.stored_scores.values()))
    return {
        "source": log.source,
        "sets": sets,
        "model_utility_geometric": model_utility(sets, "geometric"),
        "model_utility_arithmetic": model_utility(sets, "arithmetic"),
        "forget_quality": quality["p_value"],
        "forget_quality_statistic": quality["statistic"],
    }


def _ratio_losses(log: SetLog) -> tuple[list[float], list[list[float]]]:
    """Return right and wrong losses, question by question."""
    return list(log.right_losses.values()), [log.wrong_losses[index] for index in log.right_losses]


@cache
def rouge_scorer() -> Any:
    """Return the scorer of ROUGE-L with stemming.

    Raises:
        ConfigError: When the rouge-score package, of the extra ``bench``, is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise ConfigError(
            "ROUGE-L needs the package rouge-score, which is not installed.",
            hint="pip install 'lune-unlearn[bench]'",
        ) from error
    return RougeScorer(["rougeL"], use_stemmer=True)


def _harmonic_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    if min(known) <= 0:
        return 0.0
    return len(known) / sum(1 / value for value in known)


def _probabilities(losses: Sequence[float]) -> _Floats:
    probabilities: _Floats = np.exp(-np.asarray(losses, dtype=np.float64))
    return probabilities


def _mean(values: _Floats) -> float | None:
    if not len(values) or np.isnan(values).any():
        return None
    return float(values.mean())
