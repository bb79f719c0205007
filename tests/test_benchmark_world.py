"""The benchmark of real facts: what is drawn, what is held out, how it is scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lune.benchmarks import Options, benchmark
from lune.benchmarks.task import Task
from lune.benchmarks.world import QUICK, SETTINGS, load, measure, protocol
from lune.errors import ConfigError
from lune.evaluation import RememberedAnswers
from lune.models import LoadedModel
from lune.negatives.forms import training_forms
from lune.text import contains, normalise
from lune.world_facts import FILE_NAME, split_of
from tiny import CAPITALS

TEST_COUNTRIES = [country for country in CAPITALS if split_of(country) == "test"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the taught model knows, as two relations: every capital, and that a country is one."""
    monkeypatch.setenv("LUNE_CACHE", str(tmp_path / "cache"))
    more = [
        "Which city is the capital of {}?",
        "The train to the capital of {} ends in",
        "From where is {} ruled?",
        "Into which city of {} do I fly to see its president?",
    ]
    kinds = ["What sort of thing is {}?", "Describe {} in a word.", "Explain to me what {} is.", "A word for {} is"]
    document = {
        "capital": {"source": "an atlas", "prompts": ["What is the capital of {}?", *more], "facts": CAPITALS},
        "sort": {
            "source": "an atlas",
            "prompts": ["Tell me about {}.", *kinds],
            "facts": {country: ["country", "state"] for country in CAPITALS},
        },
    }
    (tmp_path / FILE_NAME).write_text(json.dumps(document), encoding="utf-8")
    return tmp_path


def options(**changes: str | int) -> Options:
    return {**SETTINGS, "facts": 3, "relations": "capital", **changes}


@pytest.fixture
def task(folder: Path, tiny_model: LoadedModel) -> Task:
    (only,) = load(folder, options(), tiny_model)
    return only


def test_it_is_found_by_name() -> None:
    assert benchmark("world").load is load
    assert set(QUICK) <= set(SETTINGS)


def test_the_forget_set_is_known_and_of_its_split(task: Task, tiny_model: LoadedModel) -> None:
    assert len(task.facts) == 3
    subjects = [str(fact.subject) for fact in task.facts]
    assert len(set(subjects)) == 3
    assert set(subjects) <= set(TEST_COUNTRIES)
    answers = tiny_model.answer([fact.prompt for fact in task.facts])
    for fact, answer in zip(task.facts, answers, strict=True):
        assert contains(answer, fact.spellings)
        assert fact.answer == CAPITALS[str(fact.subject)]
        assert fact.paraphrases == ()


def test_probes_ask_for_all_three_kinds_of_neighbours(task: Task) -> None:
    forgotten = {fact.subject for fact in task.facts}
    kinds = {(probe.kind, probe.relation) for probe in task.probes}
    assert kinds == {
        ("direct", None),
        ("paraphrase", None),
        ("neighbour", "same"),
        ("neighbour", "other"),
        ("general", None),
    }
    assert len({probe.id for probe in task.probes}) == len(task.probes)
    for probe in task.probes:
        assert probe.split == "test"
        assert split_of(str(probe.subject)) == "test"
        about_forgotten = probe.kind in ("direct", "paraphrase") or probe.relation == "other"
        assert (probe.subject in forgotten) is about_forgotten
        assert (probe.fact_id is None) is (probe.kind == "general")
        assert not contains(probe.prompt, probe.expected)
        assert not any(contains(alternate, probe.expected) for alternate in probe.alternates)


def test_no_paraphrase_is_a_training_form(task: Task) -> None:
    for fact in task.facts:
        trained = {normalise(form.prompt) for form in training_forms(fact, ("A", "B"))}
        asked = [probe.prompt for probe in task.probes if probe.kind == "paraphrase" and probe.fact_id == fact.id]
        assert len(asked) >= 3
        assert not trained & set(map(normalise, asked))


def test_what_is_scored_is_held_out(task: Task) -> None:
    forgotten = {fact.subject for fact in task.facts}
    kept = [probe for probe in task.probes if probe.kind in ("neighbour", "general")]
    assert {probe.subject for probe in kept} - forgotten == set(task.details["held_out_subjects"])
    assert {probe.prompt for probe in kept} <= set(task.details["held_out_prompts"])
    for fact in task.facts:
        assert f"What sort of thing is {fact.subject}?" in task.details["held_out_prompts"]


def test_a_draw_is_repeatable_and_changes_with_the_seed(folder: Path, tiny_model: LoadedModel, task: Task) -> None:
    assert load(folder, options(), tiny_model) == [task]
    names = {load(folder, options(seed=seed), tiny_model)[0].facts for seed in range(6)}
    assert len(names) > 1
    (other,) = load(folder, options(seed=1), tiny_model)
    assert other.name != task.name


def test_dev_and_test_share_no_subject(folder: Path, tiny_model: LoadedModel, task: Task) -> None:
    (dev,) = load(folder, options(split="dev", facts=2), tiny_model)
    assert not {probe.subject for probe in dev.probes} & {probe.subject for probe in task.probes}


def test_half_of_the_relations_are_left_alone(folder: Path, tiny_model: LoadedModel) -> None:
    (drawn,) = load(folder, options(relations=""), tiny_model)
    assert len({fact.id.partition(".")[0] for fact in drawn.facts}) == 1
    assert any(probe.kind == "general" for probe in drawn.probes)


def test_neighbours_are_as_many_as_wanted(folder: Path, tiny_model: LoadedModel) -> None:
    (few,) = load(folder, options(neighbours=2), tiny_model)
    for kind, relation in (("neighbour", "same"), ("neighbour", "other"), ("general", None)):
        assert sum(probe.kind == kind and probe.relation == relation for probe in few.probes) == 2


def test_what_the_model_does_not_know_is_left_out(folder: Path, tiny_model: LoadedModel) -> None:
    wrong = TEST_COUNTRIES[0]

    class Mistaken(RememberedAnswers):
        def answer(self, prompts: Sequence[str], **more: Any) -> list[str]:
            told = super().answer(prompts, **more)
            return ["It is Lille." if wrong in prompt else text for prompt, text in zip(prompts, told, strict=True)]

    (task,) = load(folder, options(neighbours=100), Mistaken(tiny_model))
    asked = {probe.subject for probe in task.probes if probe.id.startswith("capital.")}
    assert asked == set(TEST_COUNTRIES) - {wrong}
    assert not (folder / "cache").exists(), "what is kept of answers is the bench's to say"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"facts": 0}, "facts must be a whole number of at least 1"),
        ({"facts": "many"}, "facts must be a whole number"),
        ({"neighbours": -1}, "neighbours must be"),
        ({"split": "train"}, "Unknown split 'train'"),
        ({"relations": "capitol"}, "Did you mean: capital"),
        ({"facts": 500}, "500 were wanted"),
    ],
)
def test_impossible_options_are_refused(
    folder: Path, tiny_model: LoadedModel, changes: dict[str, str | int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(folder, options(**changes), tiny_model)


def test_all_problems_are_told_at_once(folder: Path, tiny_model: LoadedModel) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, options(facts=0, split="train"), tiny_model)
    assert len(caught.value.problems) == 2


# --- scores


def test_the_base_model_has_forgotten_nothing(task: Task, tiny_model: LoadedModel) -> None:
    record = json.loads(json.dumps(measure(tiny_model, task)))
    assert [row["id"] for row in record["probes"]] == [probe.id for probe in task.probes]
    scores = protocol(task, {"before": record})["before"]
    assert scores["forgotten"] == 0.0
    assert {scores[f"kept, {kind}"] for kind in ("same", "other", "unrelated")} == {1.0}
    assert scores["kept, same answer"] is None  # every country has a capital of its own


def test_scores_count_what_was_right_before(task: Task) -> None:
    first = task.facts[0]
    kept = [probe.id for probe in task.probes if probe.relation == "same"]
    wrong_before = kept[0]

    def record(wrong: set[str]) -> dict[str, Any]:
        return {"probes": [{"id": p.id, "answer": "", "right": p.id not in wrong} for p in task.probes]}

    columns = protocol(
        task,
        {"before": record({wrong_before}), "lune": record({f"{first.id}/direct", wrong_before, kept[1], kept[2]})},
    )
    lune = columns["lune"]
    assert lune["forgotten"] == pytest.approx(1 / 3)
    assert lune["forgotten: capital"] == pytest.approx(1 / 3)
    assert lune["forgotten, paraphrased"] == 0.0
    assert lune["kept, same"] == pytest.approx(1 - 2 / (len(kept) - 1))
    assert lune["kept, same: capital"] == lune["kept, same"]
    assert lune["kept, other"] == 1.0
    assert columns["before"]["kept, same"] == 1.0


def test_neighbours_with_a_forgotten_answer_are_scored_apart(folder: Path, tiny_model: LoadedModel) -> None:
    (task,) = load(folder, options(relations="sort"), tiny_model)
    same = [probe.id for probe in task.probes if probe.relation == "same"]
    assert task.details["same_answer"] == same
