"""What is read from stored TOFU evaluations agrees with both projects' arithmetic, written out here once more.

The example has all four sets with as many questions and wrong answers as one may meet, some so unlikely that
open-unlearning's 1e-10 shows; its greedy answers are scored by the package rouge-score itself. Nothing of
``lune.metrics`` but ``from_logs`` is used.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import hmean, ks_2samp

from lune.metrics.tofu import LogScores, SetScores, from_logs

Floats = NDArray[np.float64]
CLOSE = 1e-6
SETS = ("forget", "retain", "real_authors", "world_facts")
KEPT = SETS[1:]
TOFU_FILES = dict(
    zip(
        SETS,
        (
            "eval_log_forget.json",
            "eval_log.json",
            "eval_real_author_wo_options.json",
            "eval_real_world_wo_options.json",
        ),
        strict=True,
    )
)
PREFIXES = dict(zip(SETS, ("forget", "retain", "ra", "wf"), strict=True))
WORDS = ["the", "author", "writes", "wrote", "writing", "novel", "novels", "in", "Paris", "rivers", "and", "river"]


@dataclass(frozen=True)
class Example:
    """One set: losses of answers and paraphrases [n], of wrong answers [n, m], and ROUGE-L recalls [n]."""

    answer: Floats
    paraphrase: Floats
    wrong: Floats
    rouge: Floats

    def right(self, name: str) -> Floats:
        """Return the losses of the right answer in the truth ratio."""
        return self.paraphrase if name in ("forget", "retain") else self.answer


def make(seed: int, count: int = 60) -> dict[str, Example]:
    generator = np.random.default_rng(seed)
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    found = {}
    for name in SETS:
        wrong = generator.gamma(2.0, 0.8, size=(count, 5 if name in ("forget", "retain") else 3))
        right = generator.gamma(2.0, 0.6, size=count)
        right[:3] = (22.0, 24.0, 30.0)  # beyond -log(1e-10)
        wrong[1:3] = 23.5
        texts = [[" ".join(generator.choice(WORDS, size=9)) for _ in range(count)] for _ in range(2)]
        recalls = [scorer.score(truth, said)["rougeL"].recall for truth, said in zip(*texts, strict=True)]
        found[name] = Example(right * generator.uniform(0.8, 1.1, count), right, wrong, np.array(recalls))
    return found


def by_index(values: Floats) -> dict[str, Any]:
    return {str(number): value for number, value in enumerate(values.tolist())}


def tofu_log(example: dict[str, Example]) -> dict[str, Any]:
    """Return an ``eval_log_aggregated.json``; what is stored for the right answer is the paraphrase or the answer."""
    return {
        TOFU_FILES[name]: {
            "avg_gt_loss": by_index(each.answer),
            "avg_paraphrased_loss": by_index(each.right(name)),
            "average_perturb_loss": by_index(each.wrong),
            "rougeL_recall": by_index(each.rouge),
        }
        for name, each in example.items()
    }


def open_unlearning_log(example: dict[str, Example]) -> dict[str, Any]:
    """Return a ``TOFU_EVAL.json``, its own aggregates left out of what is read."""

    def losses(values: Floats) -> dict[str, Any]:
        rows = {
            key: {"prob": np.exp(-np.array(loss)).tolist(), "avg_loss": loss} for key, loss in by_index(values).items()
        }
        return {"agg_value": -1.0, "value_by_index": rows}

    log: dict[str, Any] = {}
    for name, prefix in PREFIXES.items():
        each = example[name]
        log |= {f"{prefix}_Q_A_Prob": losses(each.answer), f"{prefix}_Q_A_PERT_Prob": losses(each.wrong)}
        if name in ("forget", "retain"):
            log[f"{prefix}_Q_A_PARA_Prob"] = losses(each.paraphrase)
        recalls = {key: {"rougeL_recall": recall} for key, recall in by_index(each.rouge).items()}
        log[f"{prefix}_Q_A_ROUGE"] = {"agg_value": -1.0, "value_by_index": recalls}
    return log


def expected_set(name: str, each: Example, epsilon: float) -> dict[str, float]:
    """Return the scores of a set, by the scripts of locuslab/tofu for epsilon 0 and as open-unlearning does else."""
    p, right, wrong = np.exp(-each.answer), np.exp(-each.right(name)), np.exp(-each.wrong)
    scores = {
        "probability": float(np.mean(p if name in ("forget", "retain") else p / (p + wrong.sum(-1) + epsilon))),
        "rouge_l_recall": float(each.rouge.mean()),
    }
    geometric = np.exp(-each.wrong.mean(-1))
    for form, likelihood in (("geometric", geometric), ("arithmetic", wrong.mean(-1))):
        ratio = likelihood / (right + epsilon)
        good = np.minimum(ratio, 1 / (ratio + epsilon)) if name == "forget" else np.maximum(0, 1 - ratio)
        scores[f"truth_ratio_{form}"] = float(good.mean())
    scores["right_share"] = float(np.mean(right / (right + geometric + 1e-10)))
    return scores


def check(result: LogScores, example: dict[str, Example], epsilon: float) -> None:
    wanted = {name: expected_set(name, each, epsilon) for name, each in example.items()}
    for name, scores in result["sets"].items():
        assert scores == pytest.approx(wanted[name], abs=CLOSE), name
    for form in ("geometric", "arithmetic"):
        keys = ("probability", "rouge_l_recall", f"truth_ratio_{form}")
        utility = hmean([wanted[name][key] for name in KEPT for key in keys])
        assert result[f"model_utility_{form}"] == pytest.approx(utility, abs=CLOSE)  # type: ignore[literal-required]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("project", ["locuslab/tofu", "open-unlearning"])
def test_every_score_agrees_with_the_projects_own_arithmetic(tmp_path: Path, project: str, seed: int) -> None:
    example, reference = make(seed), make(seed + 100)
    epsilon, make_log = (0.0, tofu_log) if project == "locuslab/tofu" else (1e-10, open_unlearning_log)
    paths = [tmp_path / "unlearned.json", tmp_path / "retrained.json"]
    for path, each in zip(paths, (example, reference), strict=True):
        path.write_text(json.dumps(make_log(each)))
    result = from_logs(paths[0], paths[1])
    assert result["source"] == project
    check(result, example, epsilon)
    ratios = [
        np.exp(-each["forget"].wrong.mean(-1)) / (np.exp(-each["forget"].paraphrase) + epsilon)
        for each in (example, reference)
    ]
    test = ks_2samp(*ratios)
    assert result["forget_quality"] == pytest.approx(test.pvalue, abs=CLOSE)
    assert result["forget_quality_statistic"] == pytest.approx(test.statistic, abs=CLOSE)


def test_the_example_tells_the_forms_and_the_projects_apart() -> None:
    """An agreement would be worth little if the two forms, or the epsilon, made no difference in the example."""
    example = make(0)
    for name, each in example.items():
        plain, with_epsilon = expected_set(name, each, 0.0), expected_set(name, each, 1e-10)
        assert abs(plain["truth_ratio_geometric"] - plain["truth_ratio_arithmetic"]) > 100 * CLOSE
        assert abs(plain["truth_ratio_geometric"] - with_epsilon["truth_ratio_geometric"]) > 100 * CLOSE
    assert {len(SetScores.__annotations__)} == {len(expected_set("forget", example["forget"], 0.0))}


@pytest.mark.parametrize("shift", [0.0, 0.5, 4.0])
def test_forget_quality_is_the_exact_two_sample_test(tmp_path: Path, shift: float) -> None:
    example = make(7, count=40)
    forget = example["forget"]
    reference = {**example, "forget": Example(forget.answer, forget.paraphrase, forget.wrong - shift, forget.rouge)}
    paths = [tmp_path / "unlearned.json", tmp_path / "retrained.json"]
    for path, each in zip(paths, (example, reference), strict=True):
        path.write_text(json.dumps(tofu_log(each)))
    ratios = [np.exp(each["forget"].paraphrase - each["forget"].wrong.mean(-1)) for each in (example, reference)]
    test = ks_2samp(*ratios, method="exact")
    result = from_logs(paths[0], paths[1])
    assert result["forget_quality"] == pytest.approx(test.pvalue, rel=CLOSE)
    assert (result["forget_quality"] == pytest.approx(1.0)) is (shift == 0)
