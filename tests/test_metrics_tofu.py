"""TOFU's scores by hand, and on small logs in the shape of the two projects that publish them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import hmean, kstwo

from lune.errors import ConfigError, RequestError
from lune.metrics.tofu import (
    SetScores,
    forget_quality,
    forget_truth_ratio,
    from_logs,
    model_utility,
    normalised_probability,
    probability,
    retain_truth_ratio,
    right_share,
    rouge_l_recall,
    score_set,
    truth_ratios,
)

LN2 = math.log(2)
TINY = 1e-10  # open-unlearning's epsilon
TOFU_FILES = {
    "forget": "eval_log_forget.json",
    "retain": "eval_log.json",
    "real_authors": "eval_real_author_wo_options.json",
    "world_facts": "eval_real_world_wo_options.json",
}
PREFIXES = {"forget": "forget", "retain": "retain", "real_authors": "ra", "world_facts": "wf"}
# Probabilities of two questions a set: the answer's, the right one's in the truth ratio, and of two wrong answers.
ANSWER = {"forget": [0.5, 0.1], "retain": [0.9, 0.7], "real_authors": [0.4, 0.3], "world_facts": [0.2, 0.6]}
RIGHT = {"forget": [0.4, 0.2], "retain": [0.8, 0.5], "real_authors": [0.4, 0.3], "world_facts": [0.2, 0.6]}
WRONG = {
    "forget": [[0.1, 0.4], [0.9, 0.4]],
    "retain": [[0.2, 0.05], [0.1, 0.4]],
    "real_authors": [[0.1, 0.1], [0.05, 0.2]],
    "world_facts": [[0.1, 0.025], [0.3, 0.3]],
}
ROUGE = {"forget": [0.5, 0.25], "retain": [1.0, 0.8], "real_authors": [0.9, 0.7], "world_facts": [0.6, 1.0]}
# R by hand: geometric sqrt(w1 w2) / right, arithmetic (w1 + w2) / 2 / right.
GEOMETRIC = {
    "forget": [0.2 / 0.4, 0.6 / 0.2],
    "retain": [0.1 / 0.8, 0.2 / 0.5],
    "real_authors": [0.1 / 0.4, 0.1 / 0.3],
    "world_facts": [0.05 / 0.2, 0.3 / 0.6],
}
ARITHMETIC = {
    "forget": [0.25 / 0.4, 0.65 / 0.2],
    "retain": [0.125 / 0.8, 0.25 / 0.5],
    "real_authors": [0.1 / 0.4, 0.125 / 0.3],
    "world_facts": [0.0625 / 0.2, 0.3 / 0.6],
}
PROBABILITY = {
    "forget": 0.3,
    "retain": 0.8,
    "real_authors": (0.4 / 0.6 + 0.3 / 0.55) / 2,
    "world_facts": (0.2 / 0.325 + 0.6 / 1.2) / 2,
}


def loss(value: Any) -> Any:
    """Return the losses of probabilities, in whatever lists they are."""
    return [loss(each) for each in value] if isinstance(value, list) else -math.log(value)


def indexed(values: list[Any]) -> dict[str, Any]:
    return {str(index): value for index, value in enumerate(values)}


def tofu_log(**changed: dict[str, list[Any]]) -> dict[str, Any]:
    """Return the example as locuslab/tofu stores it; ``forget={"avg_gt_loss": ...}`` replaces values of a set."""
    log = {}
    for name, file in TOFU_FILES.items():
        values: dict[str, list[Any]] = {
            "avg_gt_loss": loss(ANSWER[name]),
            "avg_paraphrased_loss": loss(RIGHT[name]),
            "average_perturb_loss": loss(WRONG[name]),
            "rougeL_recall": ROUGE[name],
            "rouge1_recall": [1.0, 1.0],
        }
        log[file] = {key: indexed(each) for key, each in (values | changed.get(name, {})).items()}
        log[file]["generated_text"] = indexed([["q", "g", "a"]] * 2)
    return log


def open_unlearning_log() -> dict[str, Any]:
    """Return the example as open-unlearning stores it, with its own aggregates left wrong: they must not be read."""

    def rows(probabilities: list[Any]) -> dict[str, Any]:
        each = [{"prob": value, "avg_loss": loss(value)} for value in probabilities]
        return {"agg_value": -1.0, "value_by_index": indexed(each)}

    log: dict[str, Any] = {}
    for name, prefix in PREFIXES.items():
        log[f"{prefix}_Q_A_Prob"] = rows(ANSWER[name])
        log[f"{prefix}_Q_A_PERT_Prob"] = rows(WRONG[name])
        if name in ("forget", "retain"):
            log[f"{prefix}_Q_A_PARA_Prob"] = rows(RIGHT[name])
        recalls = [{"rouge1_recall": 0.0, "rougeL_f1": 0.0, "rougeL_recall": value} for value in ROUGE[name]]
        log[f"{prefix}_Q_A_ROUGE"] = {"agg_value": -1.0, "value_by_index": indexed(recalls)}
    log["forget_truth_ratio"] = {"agg_value": -1.0, "value_by_index": indexed([{"score": 7.0}] * 2)}
    log["model_utility"] = {"agg_value": -1.0}
    return log


def store(folder: Path, content: Any, name: str = "log.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def utility(ratios: dict[str, list[float]]) -> float:
    kept = ("retain", "real_authors", "world_facts")
    nine = [PROBABILITY[name] for name in kept] + [sum(ROUGE[name]) / 2 for name in kept]
    return float(hmean(nine + [sum(1 - ratio for ratio in ratios[name]) / 2 for name in kept]))


def test_probability_is_the_mean_of_the_length_normalised_likelihoods() -> None:
    assert probability([0.0, LN2]) == pytest.approx(0.75)
    assert probability([]) is None
    assert probability([1.0, math.nan]) is None
    # 1/2 over 1/2 + 1/4 + 1/4, and 1/4 over 1/4 + 1/2 + 0.
    assert normalised_probability([LN2, 2 * LN2], [[2 * LN2, 2 * LN2], [LN2, math.inf]]) == pytest.approx(
        (0.5 + 1 / 3) / 2
    )
    assert normalised_probability([math.log(1e10)], [[math.inf]], epsilon=TINY) == pytest.approx(0.5)


def test_rouge_l_is_the_recall_over_stemmed_words() -> None:
    # Of the six words of the expected text, "author", "write" and "book" come in order in the answer.
    assert rouge_l_recall("Authors wrote: writing a book", "The author has been writing books") == pytest.approx(3 / 6)
    assert rouge_l_recall("Paris", "It is Paris.") == pytest.approx(1 / 3)
    assert rouge_l_recall("It is Paris, of course", "Paris") == 1.0
    assert rouge_l_recall("", "Paris") == 0.0


def test_the_two_forms_of_the_truth_ratio_by_hand() -> None:
    right, wrong = [loss(0.4)], [loss([0.1, 0.4])]
    assert truth_ratios(right, wrong, "geometric") == pytest.approx([0.2 / 0.4])
    assert truth_ratios(right, wrong, "arithmetic") == pytest.approx([0.25 / 0.4])
    with pytest.raises(ConfigError, match="geometric, arithmetic"):
        truth_ratios(right, wrong, "harmonic")  # type: ignore[arg-type]


def test_a_truth_ratio_of_unlikely_answers_is_still_a_number() -> None:
    assert truth_ratios([1000.0], [[1000.0 + LN2, 1000.0 + LN2]], "arithmetic") == pytest.approx([0.5])
    assert truth_ratios([20.0], [[20.0, 20.0]], epsilon=math.exp(-20.0)) == pytest.approx([0.5])


def test_truth_ratios_are_best_at_one_for_what_goes_and_at_nought_for_what_stays() -> None:
    assert forget_truth_ratio([0.5, 4.0, 1.0]) == pytest.approx((0.5 + 0.25 + 1) / 3)
    assert forget_truth_ratio([0.0, math.inf]) == 0.0
    assert retain_truth_ratio([0.25, 4.0]) == pytest.approx(0.75 / 2)
    assert right_share([loss(0.3)], [loss([0.1, 0.1])]) == pytest.approx(0.75)


def test_model_utility_is_the_harmonic_mean_of_the_nine() -> None:
    def scores(probability: float | None, rouge: float, geometric: float, arithmetic: float) -> SetScores:
        return {
            "probability": probability,
            "rouge_l_recall": rouge,
            "truth_ratio_geometric": geometric,
            "truth_ratio_arithmetic": arithmetic,
            "right_share": 0.5,
        }

    half, fifth = scores(0.5, 0.5, 0.5, 0.25), scores(0.2, 0.2, 0.2, 0.2)
    # Six times 1/0.5 and three times 1/0.2; with the arithmetic form two of them are 1/0.25. The forget set is left out.
    sets: dict[Any, SetScores] = {"retain": half, "real_authors": half, "world_facts": fifth, "forget": fifth}
    assert model_utility(sets) == pytest.approx(9 / (6 * 2 + 3 * 5))
    assert model_utility(sets, "arithmetic") == pytest.approx(9 / (4 * 2 + 2 * 4 + 3 * 5))
    assert model_utility({**sets, "world_facts": scores(0.0, 0.2, 0.2, 0.2)}) == 0.0
    assert model_utility({**sets, "world_facts": scores(None, 0.2, 0.2, 0.2)}) is None
    assert model_utility({"retain": half}) is None


def test_forget_quality_by_hand() -> None:
    # No overlap of 3 and 3: D = 1, and only 2 of the C(6, 3) = 20 orders are as far apart.
    assert forget_quality([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) == {"p_value": pytest.approx(0.1), "statistic": 1.0}
    same = forget_quality([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert same == {"p_value": pytest.approx(1.0), "statistic": 0.0}
    assert forget_quality([], [1.0]) == {"p_value": None, "statistic": None}
    assert forget_quality([math.nan], [1.0])["p_value"] is None


def test_forget_quality_does_not_depend_on_which_way_up_the_ratio_is() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.lognormal(0, 1, 200), generator.lognormal(0.2, 1, 200)
    quality, upside_down = forget_quality(list(one), list(other)), forget_quality(list(1 / one), list(1 / other))
    assert quality["p_value"] == pytest.approx(upside_down["p_value"])
    assert quality["p_value"] is not None and quality["statistic"] is not None
    # Roughly the one-sample law at the effective size mn / (m + n) = 100.
    assert quality["p_value"] == pytest.approx(kstwo.sf(quality["statistic"], 100), rel=0.15)


def test_a_log_of_tofu_gives_the_numbers_of_both_its_scripts(tmp_path: Path) -> None:
    result = from_logs(store(tmp_path, tofu_log()))
    assert result["source"] == "locuslab/tofu"
    for name, scores in result["sets"].items():
        assert scores["probability"] == pytest.approx(PROBABILITY[name], abs=1e-9)
        assert scores["rouge_l_recall"] == pytest.approx(sum(ROUGE[name]) / 2)
        for form, ratios in (("truth_ratio_geometric", GEOMETRIC[name]), ("truth_ratio_arithmetic", ARITHMETIC[name])):
            expected = [min(r, 1 / r) if name == "forget" else max(0.0, 1 - r) for r in ratios]
            assert scores[form] == pytest.approx(sum(expected) / 2, abs=1e-9)  # type: ignore[literal-required]
    assert result["model_utility_geometric"] == pytest.approx(utility(GEOMETRIC), abs=1e-9)
    assert result["model_utility_arithmetic"] == pytest.approx(utility(ARITHMETIC), abs=1e-9)
    assert result["forget_quality"] is None


def test_the_values_of_a_question_belong_together_whatever_their_order_in_the_log(tmp_path: Path) -> None:
    log = tofu_log()
    for part in log.values():
        for key in ("avg_paraphrased_loss", "avg_gt_loss"):
            part[key] = dict(reversed(part[key].items()))
    expected = from_logs(store(tmp_path, tofu_log(), "straight.json"))
    for name, scores in from_logs(store(tmp_path, log))["sets"].items():
        assert scores == pytest.approx(expected["sets"][name])


def test_a_log_of_open_unlearning_gives_the_numbers_it_computes_itself(tmp_path: Path) -> None:
    result = from_logs(store(tmp_path, open_unlearning_log()))
    assert result["source"] == "open-unlearning"
    for name, scores in result["sets"].items():
        assert scores["probability"] == pytest.approx(PROBABILITY[name], abs=1e-8)
        assert scores["rouge_l_recall"] == pytest.approx(sum(ROUGE[name]) / 2)
        expected = [min(r, 1 / r) if name == "forget" else max(0.0, 1 - r) for r in GEOMETRIC[name]]
        assert scores["truth_ratio_geometric"] == pytest.approx(sum(expected) / 2, abs=1e-8)
    # p / (p + geometric mean of the wrong ones), what its newer versions report for the forget set.
    assert result["sets"]["forget"]["right_share"] == pytest.approx((0.4 / 0.6 + 0.2 / 0.8) / 2, abs=1e-8)
    assert result["model_utility_geometric"] == pytest.approx(utility(GEOMETRIC), abs=1e-7)


def test_the_epsilon_of_open_unlearning_is_followed_where_it_shows(tmp_path: Path) -> None:
    log = open_unlearning_log()
    right, wrong = 2e-10, 1e-10
    log["forget_Q_A_PARA_Prob"]["value_by_index"] = {"0": {"prob": right, "avg_loss": loss(right)}}
    log["forget_Q_A_PERT_Prob"]["value_by_index"] = {"0": {"prob": [wrong] * 2, "avg_loss": loss([wrong] * 2)}}
    scores = from_logs(store(tmp_path, log))["sets"]["forget"]
    assert scores["truth_ratio_geometric"] == pytest.approx(1 / 3)  # 1e-10 / (2e-10 + 1e-10)
    assert scores["right_share"] == pytest.approx(0.5)
    tofu = tofu_log(forget={"avg_paraphrased_loss": [loss(right)], "average_perturb_loss": [loss([wrong] * 2)]})
    assert from_logs(store(tmp_path, tofu))["sets"]["forget"]["truth_ratio_geometric"] == pytest.approx(0.5)


def test_forget_quality_compares_the_geometric_ratios_of_two_logs(tmp_path: Path) -> None:
    higher = {"average_perturb_loss": loss([[0.9, 0.9], [0.8, 0.8]])}
    reference = store(tmp_path, tofu_log(forget=higher), "retrained.json")
    paths = [store(tmp_path, tofu_log()), store(tmp_path, open_unlearning_log(), "TOFU_EVAL.json"), reference]
    results = from_logs(paths, reference)
    # R: 0.5 and 3 against 2.25 and 4: half of the ratios lie below all others, as in every order of 2 and 2.
    for result in results[:2]:
        assert result["forget_quality_statistic"] == pytest.approx(0.5)
        assert result["forget_quality"] == pytest.approx(1.0)
    assert results[2]["forget_quality_statistic"] == 0.0


def test_stored_ratios_are_compared_where_a_log_has_no_losses(tmp_path: Path) -> None:
    def only_scores(*scores: float) -> dict[str, Any]:
        return {"forget_truth_ratio": {"agg_value": 0.5, "value_by_index": indexed([{"score": s} for s in scores])}}

    reference = store(tmp_path, only_scores(4.0, 5.0, 6.0), "retain.json")
    result = from_logs(store(tmp_path, only_scores(1.0, 2.0, 3.0)), reference)
    assert result["forget_quality"] == pytest.approx(0.1)
    assert result["model_utility_geometric"] is None
    assert set(result["sets"]) == {"forget"}


def test_questions_that_could_not_be_scored_are_left_out(tmp_path: Path) -> None:
    log = open_unlearning_log()
    for metric in ("ra_Q_A_Prob", "retain_Q_A_PARA_Prob"):
        log[metric]["value_by_index"]["0"] = None
    log["retain_Q_A_Prob"]["value_by_index"]["0"] = {"prob": None, "avg_loss": None}
    sets = from_logs(store(tmp_path, log))["sets"]
    assert sets["real_authors"]["probability"] == pytest.approx(0.3 / 0.55)
    assert sets["retain"]["probability"] == pytest.approx(0.7)
    assert sets["retain"]["truth_ratio_geometric"] == pytest.approx(1 - 0.2 / 0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "no JSON object"),
        ({"a": 1}, "none of the sets"),
        ({"eval_log.json": {"avg_gt_loss": {}}}, "another shape"),
        ({"forget_Q_A_Prob": {"value_by_index": {"0": {"prob": 1}}}}, "another shape"),
    ],
)
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        from_logs(store(tmp_path, content))
    assert "TOFU_EVAL.json" in caught.value.hint


def test_a_missing_file_and_missing_answers_are_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"nowhere\.json"):
        from_logs(tmp_path / "nowhere.json")
    log = tofu_log(forget={"avg_paraphrased_loss": [1.0]}, world_facts={"avg_gt_loss": [1.0]})
    with pytest.raises(RequestError) as caught:
        from_logs(store(tmp_path, log))
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["forget", "world_facts"]


def test_a_set_is_scored_from_plain_values() -> None:
    scores = score_set([LN2], [0.5], [LN2], [[LN2, 2 * LN2]], kind="world_facts")
    assert scores["probability"] == pytest.approx(0.5 / (0.5 + 0.5 + 0.25))
    assert score_set([LN2], [0.5], [LN2], [[LN2]], kind="retain")["probability"] == pytest.approx(0.5)
    assert score_set([], [], [], [], kind="retain") == dict.fromkeys(scores)
