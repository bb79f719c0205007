"""General abilities: formulas by hand, files read, prompts asked, and the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lune.cli import main
from lune.errors import ConfigError, RequestError
from lune.language_model import TokenScores
from lune.metrics import harness
from lune.metrics.utility import (
    METRICS,
    _mmlu_prompt,
    final_answer,
    is_best,
    mean_scores,
    mmlu,
    read_utility,
    share_of_true,
    token_f1,
    triviaqa,
    truthfulqa,
)
from lune.models import LoadedModel

OPTIONS = ["Rome", "Paris", "Oslo", "Cairo"]
EXAMPLE = {"question": "Which is in Italy?", "choices": OPTIONS, "answer": 0}
MMLU = {
    "question": "Which is in France?",
    "choices": OPTIONS,
    "answer": 1,
    "task": "world_cities",
    "examples": [EXAMPLE],
}
TRUTHFUL: dict[str, Any] = {
    "question": "What is the capital of France?",
    "mc1_targets": {"choices": ["Paris", "Rome"], "labels": [1, 0]},
    "mc2_targets": {"choices": ["Rome", "Paris", "It is Paris"], "labels": [0, 1, 1]},
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "retain_mmlu.json": [MMLU],
    "retain_bbh.json": [
        {"question": "Is 2 even?", "answer": "Yes", "task": "x", "cot": "Q: 1?\nA: so the answer is no."}
    ],
    "truthful.json": [TRUTHFUL],
    "triviaqa.json": [{"question": "What is the capital of France?", "answers": ["Paris", "City of Paris"]}],
    "fluency.json": [{"instruction": "Tell me about France."}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, rows in ROWS.items():
        (tmp_path / name).write_text(json.dumps(rows))
    return tmp_path


def test_mc1_wants_the_true_answer_above_every_false_one() -> None:
    assert is_best([-1.0], [-2.0, -1.5])
    assert not is_best([-1.0], [-2.0, -0.5])
    assert not is_best([-1.0], [-1.0])
    assert not is_best([-3.0, -1.0], [-2.0]), "of several true answers the first counts, as published"


def test_mc2_is_the_share_of_probability_of_true_answers() -> None:
    assert share_of_true([math.log(0.3), math.log(0.1)], [math.log(0.2)]) == pytest.approx(0.4 / 0.6)
    assert share_of_true([-2000.0], [-2000.0 + math.log(3)]) == pytest.approx(0.25)  # too small for exp on its own


@pytest.mark.parametrize(
    ("text", "reference", "f1"),
    [
        ("The Eiffel Tower!", "eiffel tower", 1.0),
        ("It is Paris", "Paris", 0.5),  # precision 1/3, recall 1
        ("new york new york", "New York", 2 / 3),  # words count as often as they are in both
        ("new york new york", "New York New York City", 8 / 9),  # four in common, not two
        ("Rome", "Paris", 0.0),
        ("the", "", 1.0),
        ("", "Paris", 0.0),
    ],
)
def test_token_f1_by_hand(text: str, reference: str, f1: float) -> None:
    assert token_f1(text, reference) == pytest.approx(f1)


def test_the_final_answer_stands_behind_its_phrase() -> None:
    assert final_answer("Two is even. So the answer is (A). Q: next") == "(A)"
    assert final_answer("(B)") == "(B)"
    assert final_answer(" ") == "NOANSWER"


def test_the_mmlu_prompt_is_the_published_one() -> None:
    options = "A. Rome\nB. Paris\nC. Oslo\nD. Cairo"
    assert _mmlu_prompt(MMLU) == (
        "The following are multiple choice questions (with answers) about world cities.\n\n"
        f"Question: Which is in Italy?\n{options}\nAnswer: A\n\n"
        "Please following the previous examples and answer the given question.\n"
        f"Question: Which is in France?\n{options}"
    )


def test_mmlu_takes_the_likeliest_of_the_four_letters(tiny_model: LoadedModel) -> None:
    view = replace(tiny_model, opening="Answer:")
    chances = view.next_log_probs([_mmlu_prompt(MMLU)], [" A", " B", " C", " D"])[0]
    best = chances.index(max(chances))
    rows = [{**MMLU, "answer": answer} for answer in range(4)]
    assert mean_scores(mmlu(tiny_model, rows)) == {"accuracy": 0.25, "count": 4}
    (judged,) = mmlu(tiny_model, [{**MMLU, "answer": best}])
    assert (judged.answer, judged.expected, judged.scores) == ("ABCD"[best], ("ABCD"[best],), {"accuracy": 1.0})


def test_truthfulqa_compares_whole_answers_behind_the_published_examples(tiny_model: LoadedModel) -> None:
    scores = mean_scores(truthfulqa(tiny_model, [TRUTHFUL]))
    labels = {"mc1_targets": [0, 1], "mc2_targets": [1, 0, 0]}
    swapped = {**TRUTHFUL, **{key: {"choices": TRUTHFUL[key]["choices"], "labels": labels[key]} for key in labels}}
    other = mean_scores(truthfulqa(tiny_model, [swapped]))
    assert scores["mc1"] + other["mc1"] == 1.0
    assert scores["mc2"] + other["mc2"] == pytest.approx(1.0)
    assert mean_scores(truthfulqa(tiny_model, [TRUTHFUL, swapped]))["mc1"] == 0.5


def test_truthfulqa_by_hand(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"Paris": (-0.5, -0.5), "Rome": (-2.0,), "It is Paris": (-3.0,)}

    def score(self: LoadedModel, pairs: list[tuple[str, str]]) -> list[TokenScores]:
        return [TokenScores(told[answer], told[answer], told[answer]) for _, answer in pairs]

    monkeypatch.setattr(LoadedModel, "score", score)
    true, false = math.exp(-1) + math.exp(-3), math.exp(-2)
    (judged,) = truthfulqa(tiny_model, [TRUTHFUL])
    assert judged.scores == {"mc1": 1.0, "mc2": pytest.approx(true / (true + false))}
    told["Paris"] = (-1.0, -1.5)  # by the sum it is now below Rome, by the mean a token it would not be
    assert truthfulqa(tiny_model, [TRUTHFUL])[0].scores["mc1"] == 0.0


def test_triviaqa_takes_the_best_accepted_answer(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(self: LoadedModel, prompts: list[str], **_: Any) -> list[str]:
        asked.extend(map(self.chat.render, prompts))
        return ["It is Paris" for _ in prompts]

    monkeypatch.setattr(LoadedModel, "answer", answer)
    (judged,) = triviaqa(tiny_model, ROWS["triviaqa.json"])
    assert judged.scores == {"f1": pytest.approx(0.5), "exact_match": 0.0}
    assert (judged.answer, judged.expected) == ("It is Paris", ("Paris", "City of Paris"))
    assert "A: Rim of Fire\nQ: Csi when" in asked[0]
    assert "following question:\nQ: What is the capital of France?\n<|end|>" in asked[0]
    assert asked[0].endswith("\nA:")


def test_every_file_there_is_gives_its_scores(folder: Path, tiny_model: LoadedModel) -> None:
    scores = {name: mean_scores(METRICS[name](tiny_model, rows)) for name, rows in read_utility(folder).items()}
    assert {name: set(values) for name, values in scores.items()} == {
        "mmlu": {"accuracy", "count"},
        "bbh": {"exact_match", "count"},
        "truthfulqa": {"mc1", "mc2", "count"},
        "triviaqa": {"f1", "exact_match", "count"},
        "fluency": {"entropy", "count"},
    }
    assert scores["fluency"]["entropy"] > 0


def test_a_limit_spreads_over_the_file_and_examples_may_stand_apart(tmp_path: Path) -> None:
    rows = [{"task": "t", "question": str(n), "choices": OPTIONS, "answer": 0} for n in range(10)]
    (tmp_path / "mmlu.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mmlu_dev5shot.json").write_text(json.dumps({"t": [EXAMPLE]}))
    read = read_utility(tmp_path, limit=5)["mmlu"]
    assert [row["question"] for row in read] == ["0", "2", "4", "6", "8"]
    assert read[0]["examples"] == [EXAMPLE]


def test_files_that_lack_something_are_refused_with_all_problems(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"none of the files that are read: retain_mmlu\.json"):
        read_utility(tmp_path)
    (tmp_path / "triviaqa.json").write_text(json.dumps([{"question": "x"}, {"answers": ["y"]}]))
    with pytest.raises(RequestError) as refused:
        read_utility(tmp_path)
    assert [problem.partition(", ")[2] for problem in refused.value.problems] == [
        "row 1: has no answers",
        "row 2: has no question",
    ]
    (tmp_path / "triviaqa.json").write_text("[")
    with pytest.raises(RequestError, match="cannot be read"):
        read_utility(tmp_path)


def test_the_command_writes_the_scores(folder: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "retain_bbh.json").unlink()
    out = folder / "scores.json"
    assert main(["utility", str(tiny_folder), "--data", str(folder), "--limit", "1", "--out", str(out)]) == 0
    assert "truthfulqa" in capsys.readouterr().out
    record = json.loads(out.read_text())
    assert record["utility"]["mmlu"]["count"] == 1
    assert record["lm_eval"] == {}
    answers = [json.loads(line) for line in (folder / "scores.answers.jsonl").read_text().splitlines()]
    assert [row["ability"] for row in answers] == ["mmlu", "truthfulqa", "triviaqa", "fluency"]
    assert answers[2]["question"] == "What is the capital of France?" and answers[2]["expected"] == [
        "Paris",
        "City of Paris",
    ]
    assert answers[2]["scores"]["f1"] == record["utility"]["triviaqa"]["f1"] and isinstance(answers[2]["answer"], str)
    assert main(["utility", str(tiny_folder), "--data", str(folder), "--out", str(folder / "scores.json")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["utility", str(tiny_folder)]) == 2
    assert "--data" in capsys.readouterr().err


def test_a_missing_harness_is_named_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "_PACKAGE", "no_such_package_anywhere")
    with pytest.raises(ConfigError, match="not installed") as refused:
        harness.check_harness(["piqa"])
    assert refused.value.hint == "pip install 'lune-unlearn[eval]'"


@pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs the extra eval")
def test_the_harness_scores_a_local_task_file(tmp_path: Path, tiny_model: LoadedModel) -> None:
    data = tmp_path / "capitals.jsonl"
    rows = [("France", "Paris", "Rome"), ("Italy", "Rome", "Oslo")]
    data.write_text("".join(json.dumps({"q": f"What is the capital of {c}?", "a": [x, y]}) + "\n" for c, x, y in rows))
    task = tmp_path / "capitals.yaml"
    task.write_text(
        "task: capitals_here\ndataset_path: json\ndataset_kwargs:\n  data_files:\n"
        f"    test: {data}\ntest_split: test\noutput_type: multiple_choice\n"
        "doc_to_text: \"{{q}}\"\ndoc_to_choice: \"{{a}}\"\ndoc_to_target: 0\n"
        "metric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n"
    )  # fmt: skip
    scores = harness.harness_scores(tiny_model, [str(task)])
    expected = replace(tiny_model, raw=True).score(
        [(f"What is the capital of {c}?", f" {a}") for c, *two in rows for a in two]
    )
    sums = [sum(each.log_probs) for each in expected]
    accuracy = sum(sums[place] > sums[place + 1] for place in (0, 2)) / 2
    assert scores["capitals_here"]["acc,none"] == accuracy
    with pytest.raises(ConfigError, match="knows no task no_such_task"):
        harness.harness_scores(tiny_model, ["no_such_task"])
    with pytest.raises(ConfigError, match=r"no task file missing\.yaml"):
        harness.check_harness(["missing.yaml"])
