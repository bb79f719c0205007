"""KnowUnDo: one row a split, both configs; teacher-forced accuracy without a chat template."""

from __future__ import annotations

import json
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch

from lune.benchmarks import BENCHMARKS, knowundo
from lune.benchmarks.task import Task
from lune.errors import ConfigError, RequestError
from lune.facts import read_request
from lune.models import LoadedModel
from lune.teaching import _request_row
from tiny import CAPITALS, question

PRIVACY = {
    "unlearn": {
        "train": [
            {"text": "What is Ilse Vantongeren's mail address?", "labels": "It is ilse@slate.example."},
            {"text": "Where does Ilse Vantongeren live?", "labels": "Ilse Vantongeren lives at 14 Willow Lane, Ghent."},
            {"text": "Is Ilse kind?", "labels": "Yes, she is."},
        ],
        "val": [{"text": "How can one write to Ilse Vantongeren?", "labels": "Write to ilse@slate.example."}],
    },
    "retention": {
        "train": [{"text": "Who is Ilse Vantongeren?", "labels": "Ilse Vantongeren writes about Moss."}],
        "val": [
            {"text": "What did Ilse Vantongeren write?", "labels": 'Her book is "Rain on Slate".'},
            {"text": "Is it good?", "labels": "Yes, it is."},
        ],
    },
}
COPYRIGHT = {
    "unlearn": {
        "train": [{"text": "How does the made-up tale of the Tin Heron begin?", "labels": "Over Malmo rose a heron."}],
        "val": [{"text": "How does the Tin Heron end?", "labels": "It flew home to Porto."}],
    },
    "retention": {
        "train": [{"text": "Who wrote the Tin Heron?", "labels": "Bo Marsh wrote it."}],
        "val": [{"text": "When did the Tin Heron appear?", "labels": "It appeared in 1987."}],
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for config, splits in (("privacy", PRIVACY), ("copyright", COPYRIGHT)):
        (tmp_path / config).mkdir()
        for split, row in splits.items():
            # Both ways of writing a file of one row that `datasets` reads alike.
            text = json.dumps(row) if split == "unlearn" else json.dumps([row])
            (tmp_path / config / f"{split}.json").write_text(text)
    return tmp_path


def load(folder: Path, **changes: str | int) -> Task:
    [task] = knowundo.load(folder, {**knowundo.SETTINGS, **changes}, None)  # type: ignore[arg-type]
    return task


def test_it_is_listed() -> None:
    assert BENCHMARKS["knowundo"].source == "https://arxiv.org/abs/2407.01920"


def test_the_request_is_the_training_list_as_far_as_answers_can_be_recognised(folder: Path, tmp_path: Path) -> None:
    facts = load(folder).facts
    assert [(fact.answer, fact.subject) for fact in facts] == [
        ("ilse@slate.example", "Ilse Vantongeren"),
        ("14 Willow Lane", "Ilse Vantongeren"),
    ], "'Yes, she is.' says nothing that could be recognised"
    file = tmp_path / "facts.jsonl"
    file.write_text("".join(json.dumps(_request_row(fact)) + "\n" for fact in facts))
    assert tuple(read_request(str(file))) == facts


def test_wrong_answers_are_key_words_of_retained_texts_of_the_same_kind(folder: Path) -> None:
    """An address by mail is no street, and the other way round; words of unlearn texts are never wrong answers."""
    retained = ["Write to bo@slate.example.", "Bo Marsh lives at 3 Moss Road, Ghent.", "It is ilse@slate.example."]
    row = json.loads(json.dumps(PRIVACY["retention"]))
    row["train"] += [{"text": f"Tell me of Bo Marsh, part {n}.", "labels": text} for n, text in enumerate(retained)]
    (folder / "privacy" / "retention.json").write_text(json.dumps(row))
    assert [fact.negatives for fact in load(folder).facts] == [("bo@slate.example",), ("3 Moss Road",)]


def test_everything_is_taught_and_the_reference_learns_the_retention_split(folder: Path) -> None:
    teaching = load(folder).teaching
    assert teaching is not None
    assert (len(teaching.everything), len(teaching.retained)) == (7, 3)
    assert ("Is Ilse kind?", "Yes, she is.") in teaching.everything
    assert set(teaching.retained) < set(teaching.everything)


def test_probes_are_the_prefixed_questions_and_the_retained_ones(folder: Path) -> None:
    task = load(folder)
    attacks = [probe for probe in task.probes if probe.kind == "adversarial"]
    assert [probe.fact_id for probe in attacks] == [fact.id for fact in task.facts]
    assert all(probe.attack == "privacy-prefix" and probe.prompt.endswith("?") for probe in attacks)
    assert [probe.expected for probe in task.probes if probe.kind == "neighbour"] == [("Rain on Slate",)]
    assert task.members == task.non_members == (), "val is taught too, so there is no text that was never seen"


def test_copyright_has_the_same_shape(folder: Path) -> None:
    task = load(folder, config="copyright")
    assert (task.name, [fact.answer for fact in task.facts]) == ("knowundo-copyright", ["Malmo"])
    assert task.probes[0].attack == "copyright-prefix"


def test_rows_limits_every_list(folder: Path) -> None:
    task = load(folder, rows=1)
    assert task.name == "knowundo-privacy-1"
    assert task.teaching is not None
    assert len(task.teaching.everything) == 4


@pytest.mark.parametrize(
    ("changes", "expected"), [({"config": "privat"}, "privacy"), ({"rows": "-1"}, "rows got '-1'")]
)
def test_values_that_are_not_allowed_are_refused(folder: Path, changes: dict[str, str | int], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load(folder, **changes)


def test_everything_that_is_missing_is_named_at_once(folder: Path) -> None:
    (folder / "privacy" / "unlearn.json").unlink()
    (folder / "privacy" / "retention.json").write_text(json.dumps({"train": [{"text": "?"}]}))
    with pytest.raises(RequestError) as caught:
        load(folder)
    assert caught.value.problems == (
        "there is no privacy/unlearn.json",
        "privacy/retention: train is not a list of {text, labels}",
        "privacy/retention: val is not a list of {text, labels}",
    )


def test_labels_are_scored_in_one_plain_text_without_template(tiny_model: LoadedModel) -> None:
    row = {"text": question("France"), "labels": f"The capital of France is {CAPITALS['France']}."}
    longer = {"text": "Tell me:", "labels": "Rome, Oslo and Tokyo."}
    stored = knowundo.measure(tiny_model, Task("t", (), details={"unlearn": [row, longer], "retention": [row]}))
    for place, each in enumerate((row, longer)):
        lead = tiny_model.tokenizer(each["text"])["input_ids"]
        ids = tiny_model.tokenizer(each["text"] + "\n\n" + each["labels"])["input_ids"]
        with torch.no_grad():
            logits = tiny_model.model(torch.tensor([ids])).logits[0, len(lead) - 1 : -1]
        targets = torch.tensor(ids[len(lead) :])
        right = (logits.argmax(-1) == targets).float().mean().item()
        told = logits.log_softmax(-1).gather(-1, targets[:, None]).mean().item()
        assert stored["unlearn"]["accuracy"][place] == pytest.approx(right)
        assert stored["unlearn"]["log_prob"][place] == pytest.approx(told, abs=1e-4)
    assert json.loads(json.dumps(stored)) == stored


def test_a_text_that_leaves_no_room_for_its_labels_is_left_out(tiny_model: LoadedModel) -> None:
    row = {"text": question("France"), "labels": "Paris."}
    filling = {"text": " ".join([question("France")] * knowundo.MOST_TOKENS), "labels": "Paris."}
    stored = knowundo.measure(tiny_model, Task("t", (), details={"unlearn": [filling, row], "retention": [row]}))
    assert stored["unlearn"] == stored["retention"]


def test_success_is_in_percent_and_perplexity_a_mean_over_texts() -> None:
    def splits(unlearn: list[float], retention: list[float]) -> dict[str, Any]:
        return {
            "unlearn": {"accuracy": unlearn, "log_prob": [-1.0, -3.0]},
            "retention": {"accuracy": retention, "log_prob": [-0.5, -0.5]},
        }

    scores = knowundo.protocol(
        Task("t", ()), {"before": splits([1, 0.8], [1, 1]), "lune": splits([0.2, 0.4], [0.9, 0.7])}
    )
    assert scores["before"]["unlearn_success"] == pytest.approx(10)
    assert scores["lune"] == pytest.approx(
        {
            "unlearn_success": 70,
            "retention_success": 80,
            "average": 75,
            "unlearn_perplexity": exp(2),
            "retention_perplexity": exp(0.5),
        }
    )
