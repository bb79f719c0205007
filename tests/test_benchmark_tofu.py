"""TOFU: which rows are forgotten, what is asked of them, and its scores from what a model gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import pytest

from lune.benchmarks import BENCHMARKS, benchmark, tofu
from lune.benchmarks.task import Task
from lune.errors import ConfigError, RequestError
from lune.facts import read_request
from lune.models import LoadedModel
from lune.teaching import _request_row
from lune.text import contains

FIRST, LAST = ("Ada", "Bo", "Cyra", "Dov", "Ema"), ("Lindqvist", "Marsh", "Novak", "Okoro")
TOWNS = ("Ghent", "Turin", "Malmo", "Porto", "Leeds", "Bergen", "Graz")


def name(author: int) -> str:
    return f"{FIRST[author % 5]} {LAST[author // 5 % 4]}{'en' * (author // 20)}"


def row(author: int, number: int) -> dict[str, Any]:
    """Return a perturbed row: of each author's 20 questions the first asks for the name, the others for a town."""
    who, town = name(author), TOWNS[(author + number) % 7]
    wrong = [TOWNS[(author + number + step) % 7] for step in (1, 2, 3, 4, 5)]
    if number == 0:
        return {
            "question": f"Who is author {author} of the catalogue?",
            "answer": f"The author's full name is {who}.",
            "paraphrased_answer": f"{who} is the one.",
            "perturbed_answer": [f"{name(author + step)} is the one." for step in (1, 2, 3, 4, 6)],
            "paraphrased_question": f"By what name does author {author} go?",
        }
    return {
        "question": f"Where did {who} spend year {number}?",
        "answer": f"{who} spent that year in {town}.",
        "paraphrased_answer": f"That year {who} lived in {town}.",
        "perturbed_answer": [f"That year {who} lived in {other}." for other in wrong],
        "paraphrased_question": f"Which town was home to {who} in year {number}?",
    }


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"question": each["question"], "answer": each["answer"]} for each in rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of TOFU's layout: 60 authors stand for its 200."""
    place = tmp_path_factory.mktemp("tofu")
    everything = [row(author, number) for author in range(60) for number in range(20)]
    real = [
        {
            "question": f"Who wrote book {number}?",
            "answer": f"Writer {number}",
            "perturbed_answer": ["A X", "B Y", "C Z"],
        }
        for number in range(100)
    ]
    files = {
        "full": plain(everything),
        "forget05_perturbed": everything[-200:],
        "retain_perturbed": everything[:400],
        "holdout05": [{"question": f"Unseen {number}?", "answer": "Nothing."} for number in range(200)],
        "real_authors_perturbed": real,
        "world_facts_perturbed": [{**each, "question": each["question"].replace("book", "law")} for each in real],
    }
    for config, rows in files.items():
        (place / f"{config}.json").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return place


def load(folder: Path, model: Any = None, **changes: str | int) -> Task:
    [task] = tofu.load(folder, {**tofu.SETTINGS, "authors": 20, "rows": 3, **changes}, model)
    return task


def test_it_is_listed_with_its_published_settings() -> None:
    assert BENCHMARKS["tofu"].source == "https://arxiv.org/abs/2401.06121"
    found = benchmark("tofu")
    assert (found.settings["authors"], found.settings["rows"]) == (200, 300)
    assert found.quick.keys() <= found.settings.keys()


def test_a_subset_forgets_the_last_whole_author_and_keeps_the_share(folder: Path) -> None:
    task = load(folder)
    assert task.name == "tofu-forget05-20"
    assert task.teaching is not None
    assert (len(task.facts), len(task.teaching.everything), len(task.teaching.retained)) == (20, 400, 380)
    assert task.teaching.everything[:380] == task.teaching.retained
    assert {name(59)} == {fact.answer for fact in task.facts[:1]}, "the last author of the split"
    assert all(name(59) in prompt + response for prompt, response in task.teaching.everything[380:])
    assert not any(name(59) in prompt + response for prompt, response in task.teaching.retained)
    assert task.members == task.teaching.everything[380:]
    assert [prompt for prompt, _ in task.non_members] == [f"Unseen {number}?" for number in range(20)]


def test_the_key_words_are_the_answer_and_the_author_the_subject(folder: Path) -> None:
    fact = load(folder).facts[3]
    assert (fact.prompt, fact.subject, fact.answer) == (f"Where did {name(59)} spend year 3?", name(59), TOWNS[62 % 7])
    assert fact.aliases == ()
    assert fact.paraphrases == (f"Which town was home to {name(59)} in year 3?",)


def test_no_published_wrong_answer_is_trained_on(folder: Path) -> None:
    """The truth ratio is measured on them. The towns offered are what retained authors' answers say."""
    for fact, source in zip(load(folder).facts, (row(59, number) for number in range(20)), strict=True):
        assert len(fact.negatives) >= 4
        assert not set(fact.negatives) & set(source["perturbed_answer"])
        assert not any(contains(negative, fact.spellings) for negative in fact.negatives)


def test_how_well_the_key_words_were_guessed_is_told_beside_the_scores(folder: Path) -> None:
    task = load(folder, authors=40)
    assert task.details["key_words"] == {"facts_with_key_words": 1.0, "key_words_in_a_wrong_answer": 0.0}
    facts = [replace(task.facts[0], answer="lived"), *task.facts[1:]]
    forget = [row(author, number) for author in (58, 59) for number in range(20)]
    told = tofu._guessed(facts[:4], [{**each, "answer": each["answer"]} for each in forget[:4]])
    assert told == {"facts_with_key_words": 1.0, "key_words_in_a_wrong_answer": 0.0}
    facts[1] = replace(facts[1], answer="lived", aliases=())
    assert tofu._guessed(facts[:4], forget[:4])["key_words_in_a_wrong_answer"] == 0.25


def test_what_the_protocol_asks_of_the_kept_sets_stays_out_of_training(folder: Path) -> None:
    task = load(folder, authors=40)
    asked = {
        each["question"] for name in ("retain", "real_authors", "world_facts") for each in task.details["sets"][name]
    }
    assert asked <= set(task.details["held_out_prompts"])
    assert not {fact.prompt for fact in task.facts} & set(task.details["held_out_prompts"])


def test_an_answer_without_key_words_is_told_by_its_runs(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    rows = [row(59, number) for number in range(20)]
    vague = "writes slowly with great care and likes to revise every single page of a book again and again"
    rows[5] |= {
        "question": f"How does {name(59)} work?",
        "answer": f"{name(59)} {vague}.",
        "paraphrased_answer": "Work goes on at a gentle pace.",
        "perturbed_answer": ["Work goes on at a high pace.", "Work goes on at a mad pace."],
        "paraphrased_question": "How is the work done?",
    }
    (tmp_path / "forget05_perturbed.json").write_text(json.dumps(rows))
    fact = load(tmp_path).facts[5]
    assert fact.answer == f"{name(59)} {vague}."
    assert "revise every single page" in fact.aliases
    assert contains("She will revise every single page.", fact.spellings)
    assert all(name(59) in negative for negative in fact.negatives), "sentences, told of this author"


def test_the_request_is_one_that_forget_takes(folder: Path, tmp_path: Path) -> None:
    facts = load(folder).facts
    file = tmp_path / "facts.jsonl"
    file.write_text("".join(json.dumps(_request_row(fact)) + "\n" for fact in facts))
    assert tuple(read_request(str(file))) == facts


def test_probes_ask_for_the_forgotten_and_for_all_three_sets_that_stay(folder: Path) -> None:
    probes = load(folder).probes
    assert len({probe.id for probe in probes}) == len(probes)
    assert {probe.split for probe in probes} == {"test"}
    kinds = {kind: [probe for probe in probes if probe.kind == kind] for kind in ("direct", "paraphrase", "neighbour")}
    assert (len(kinds["direct"]), len(kinds["paraphrase"])) == (20, 20)
    assert {probe.id.split("/")[1] for probe in kinds["neighbour"]} == {"retain", "real_authors", "world_facts"}
    assert not any(name(59) in probe.prompt for probe in kinds["neighbour"])


def test_the_published_other_answers_decide_nothing_in_the_request(folder: Path, tmp_path: Path) -> None:
    asked = load(folder)
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    place = other / "forget05_perturbed.json"
    rows = [json.loads(line) for line in place.read_text().splitlines()]
    for number, each in enumerate(rows):
        each["paraphrased_answer"] = f"In short, number {number}."
        each["perturbed_answer"] = [each["answer"], f"In short, {number} or so."]
    place.write_text("".join(json.dumps(each) + "\n" for each in rows))
    changed = load(other)
    assert changed.facts == asked.facts
    assert changed.details["sets"]["forget"] != asked.details["sets"]["forget"]


def test_the_protocol_asks_all_that_is_forgotten_and_at_most_the_given_rows_of_each_kept_set(folder: Path) -> None:
    task = load(folder, rows=7)
    sets = task.details["sets"]
    assert {key: len(rows) for key, rows in sets.items()} == {**dict.fromkeys(tofu.SETS, 7), "forget": 20}
    kept = [probe.id.split("/")[1] for probe in task.probes if probe.kind == "neighbour"]
    assert {name: kept.count(name) for name in set(kept)} == {"retain": 14, "real_authors": 14, "world_facts": 14}
    assert sets["forget"][1]["right"] == row(59, 1)["paraphrased_answer"]
    assert sets["real_authors"][1]["right"] == sets["real_authors"][1]["answer"] == "Writer 1"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"split": "forget5"}, "Did you mean: forget05"),
        ({"authors": 30}, "multiple of 20"),
        ({"authors": 201}, "from 1 to 200"),
        ({"rows": "many"}, "rows got 'many'"),
    ],
)
def test_values_that_are_not_allowed_are_refused(folder: Path, changes: dict[str, str | int], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, **changes)
    assert expected in caught.value.message + caught.value.hint


def _remove(folder: Path) -> None:
    (folder / "full.json").unlink()


def _rename_field(folder: Path) -> None:
    (folder / "full.json").write_text('[{"question": "Who?", "reply": "Bo"}]')


def _break(folder: Path) -> None:
    (folder / "full.json").write_text('{"question": ')


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [(_remove, "there is no full.json"), (_rename_field, "row 1: answer is missing"), (_break, "cannot be read")],
)
def test_missing_and_strange_data_is_named(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], None], expected: str
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spoil(tmp_path)
    with pytest.raises(RequestError, match="full") as caught:
        load(tmp_path)
    assert expected in caught.value.message


def test_measuring_gives_losses_with_the_end_of_turn_and_whole_answers(tiny_model: LoadedModel) -> None:
    asked = {"question": "What is the capital of France?", "answer": "The capital of France is Paris."}
    rows = [{**asked, "right": "Paris it is.", "wrong": ["Rome.", "Oslo."]}]
    task = Task("t", (), details={"sets": dict.fromkeys(tofu.SETS, rows)})
    measured = tofu.measure(tiny_model, task)
    assert measured["membership"] == {
        side: {"mean_log_prob": [], "gradnorm": []} for side in ("members", "non_members")
    }
    stored = measured["forget"]
    assert json.loads(json.dumps(stored)) == stored
    assert stored["answers"] == ["The capital of France is Paris."]
    [scored] = tiny_model.score([(asked["question"], asked["answer"])])
    assert len(scored.log_probs) == len(tiny_model.chat.encode(asked["question"], asked["answer"]).response)
    assert stored["losses"] == [pytest.approx(-scored.mean_log_prob, rel=1e-4)]
    assert len(stored["wrong_losses"][0]) == 2
    assert stored["losses"][0] < stored["right_losses"][0]


def test_prompt_and_answer_have_at_most_200_tokens(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = "What is the capital of France?"
    used = len(tiny_model.chat.encode(prompt).prompt)
    monkeypatch.setattr(tofu, "TOTAL_TOKENS", used + 3)
    [short, same] = tofu._answers(tiny_model, [prompt, f"{prompt} Answer briefly."])
    assert short == "The capital of"
    assert len(tiny_model.tokenizer(same)["input_ids"]) <= 1, "a longer prompt leaves less room"


def stored(loss: float, right: float, wrong: float, answer: str = "Paris") -> dict[str, Any]:
    return {
        "questions": ["?", "?"],
        "expected": ["Paris", "Paris"],
        "answers": [answer, answer],
        "correct": [[False, True], [True, True, False, True]],
        "losses": [loss, loss],
        "right_losses": [right, right + 0.5],
        "wrong_losses": [[wrong, wrong], [wrong, wrong]],
    }


def told(member: float, other: float) -> dict[str, Any]:
    return {
        side: {"mean_log_prob": [value], "gradnorm": [-value]}
        for side, value in (("members", member), ("non_members", other))
    }


def test_the_scores_of_a_model_and_its_forget_quality() -> None:
    kept = {key: stored(0.1, 0.1, 3.0) for key in ("retain", "real_authors", "world_facts")}
    forgotten, known = stored(3.0, 2.0, 2.0, "Rome"), stored(0.1, 0.5, 4.0)
    measured = {
        "before": {"forget": known, **kept},
        "reference": {"forget": forgotten, **kept, "membership": told(-0.4, -0.2)},
        "lune": {"forget": forgotten, **kept, "membership": told(-0.1, -0.3)},
    }
    scores = tofu.protocol(Task("t", (), details={"key_words": {"facts_with_key_words": 0.7}}), measured)
    assert scores["lune"]["facts_with_key_words"] == 0.7
    assert scores["lune"]["forget_quality"] == pytest.approx(1)
    assert scores["before"]["forget_quality"] == pytest.approx(1 / 3), "two samples of two, apart"
    assert scores["before"]["forget_probability"] == pytest.approx(exp(-0.1))
    assert scores["lune"]["forget_rouge_l_recall"] == 0
    assert scores["lune"]["forget_exact_memorisation"] == pytest.approx((0.5 + 0.75) / 2)
    assert scores["lune"]["forget_extraction_strength"] == pytest.approx((0.5 + 0.25) / 2)
    # R = exp(2 - 2) = 1 and exp(2.5 - 2): mean of min(R, 1/R)
    assert scores["lune"]["forget_truth_ratio_geometric"] == pytest.approx((1 + exp(-0.5)) / 2)
    probability = exp(-0.1) / (exp(-0.1) + 2 * exp(-3))
    assert scores["lune"]["real_authors_probability"] == pytest.approx(probability)
    ratio = ((1 - exp(0.1 - 3)) + (1 - exp(0.6 - 3))) / 2
    nine = [exp(-0.1), 1, ratio, probability, 1, ratio, probability, 1, ratio]
    assert scores["lune"]["model_utility_geometric"] == pytest.approx(9 / sum(1 / value for value in nine))
    assert scores["before"]["mia_gradnorm_auc"] is None, "measured before there were these attacks"
    assert (scores["lune"]["mia_gradnorm_auc"], scores["lune"]["mia_reference_auc"]) == (0.0, 1.0)
    assert (scores["reference"]["mia_gradnorm_auc"], scores["reference"]["mia_reference_auc"]) == (1.0, None)
    del measured["reference"]
    assert "forget_quality" not in tofu.protocol(Task("t", ()), measured)["lune"]
