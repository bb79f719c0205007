"""EDU-RELAT: what is read and refused, the tasks, and the scores, on a made-up family of four."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lune.benchmarks import benchmark
from lune.benchmarks.pickles import read_archive
from lune.benchmarks.task import Task
from lune.errors import ConfigError, RequestError
from lune.models import LoadedModel

EDU_RELAT = benchmark("edu-relat")
NAMES = ["Ann Lee", "Bob Lee", "Cat Lee", "Dan Lee"]
GENDERS = ["female", "male", "female", "male"]
# (a, b, relation): b is a's relation.
EDGES = [(0, 1, "husband"), (1, 0, "wife"), (2, 0, "mother"), (2, 1, "father"), (0, 2, "child"), (2, 3, "brother")]
RULES = [([(0, "wife", 1)], (1, "husband", 0)), ([(0, "father", 1), (0, "mother", 2)], (2, "husband", 1))]
# Ann's husband follows from Bob's wife, and from Cat's father and mother together.
MINIMAL_SETS = {0: {frozenset({0, 1, 2}), frozenset({0, 1, 3})}, 5: {frozenset({5})}}


class _Old(pickle._Pickler):
    """Names things as the published files do: classes of a script, numpy's former module, Python 2's builtins."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module, own = {
            np.int64(0).__reduce__()[0]: ("numpy.core.multiarray", "scalar"),
            np.empty(0).__reduce__()[0]: ("numpy.core.multiarray", "_reconstruct"),
            Person: ("__main__", "Person"),
            Rule: ("__main__", "Rule"),
        }.get(obj, (obj.__module__, obj.__name__))
        builtin = {"builtins": "__builtin__"}.get(module, module)
        self.write(pickle.GLOBAL + f"{builtin}\n{own}\n".encode())
        self.memoize(obj)


class Person:
    def __init__(self, gender: str) -> None:
        self.gender = gender


class Rule:
    def __init__(self, left_tuples: Any, right_tuple: Any) -> None:
        self.left_tuples, self.right_tuple = left_tuples, right_tuple


def write_archive(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive, archive.open(f"{path.stem}/data.pkl", "w") as file:
        _Old(file, protocol=2).dump(value)


def columns(rows: list[dict[str, str]]) -> dict[str, list[str]]:
    return {key: [row[key] for row in rows] for key in rows[0]}


def relation_row(edge: tuple[int, int, str]) -> dict[str, str]:
    owner, other, relation = NAMES[edge[0]], NAMES[edge[1]], edge[2]
    return {
        "fact": f"{other} is {owner}'s {relation}.",
        "question": f"{other} is {owner}'s ", "answer": relation,
        "question2": f"Is {other} {owner}'s {relation}?", "answer2": "yes",
        "question3": f"Is {other} {owner}'s niece?", "answer3": "no",
        "question4": f"Who is {other} to {owner}?", "answer4": relation,
    }  # fmt: skip


def biography_row(name: str) -> dict[str, str]:
    form = {"question": f"{name} was born in ", "question4": f"Where was {name} born?"}
    return {"fact": f"{name} was born in Ohio.", **form, "answer": "Ohio", "answer4": "Ohio"}


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """The authors' repository with a family of four and two facts to choose from."""
    folder = tmp_path / "synthetic_data"
    write_archive(folder / "family_relationships.pt", columns([relation_row(edge) for edge in EDGES]))
    write_archive(folder / "family_biographies.pt", columns([biography_row(name) for name in NAMES]))
    graph = ([edge[:2] for edge in EDGES], [edge[2] for edge in EDGES], np.array(NAMES), [Person(g) for g in GENDERS])
    write_archive(folder / "family-200-graph.pt", graph)
    write_archive(folder / "family_rule.pt", [Rule(body, head) for body, head in RULES])
    write_archive(folder / "subsample.pt", np.array([5, 0]))
    for fact, sets in MINIMAL_SETS.items():
        published = {frozenset(np.int64(each) for each in facts) for facts in sets}
        write_archive(folder / "unlearn_minimal_set" / f"{fact}.pt", published)
    return tmp_path


def test_each_chosen_fact_is_a_task_that_teaches_all_others(family: Path, tiny_model: LoadedModel) -> None:
    tasks = EDU_RELAT.load(family, EDU_RELAT.settings, tiny_model)
    assert [task.name for task in tasks] == ["edu-relat-5", "edu-relat-0"]
    task = tasks[1]
    assert [(fact.prompt, fact.answer, fact.subject) for fact in task.facts] == [
        ("Who is Bob Lee to Ann Lee?", "husband", "Ann Lee")
    ]
    assert task.teaching is not None
    assert len(task.teaching.everything) == len(EDGES) + len(NAMES)
    assert set(task.teaching.everything) - set(task.teaching.retained) == {("Who is Bob Lee to Ann Lee?", "husband")}
    assert task.details["minimal_sets"] == [[0, 1, 2], [0, 1, 3]]


def test_probes_keep_apart_what_must_go_what_may_go_and_what_must_stay(family: Path, tiny_model: LoadedModel) -> None:
    probes = EDU_RELAT.load(
        family / "synthetic_data", {**EDU_RELAT.settings, "targets": "1", "form": "plain"}, tiny_model
    )[0].probes
    assert len({probe.id for probe in probes}) == len(probes)
    by_attack = {probe.attack: probe.prompt for probe in probes if probe.kind == "adversarial"}
    assert by_attack["confirmation"] == "Is Bob Lee Ann Lee's husband?"
    assert [p.prompt for p in probes if p.kind == "paraphrase"] == ["Bob Lee is Ann Lee's"]
    assert [p.prompt for p in probes if p.attack == "deduction"] == [
        "Who is Ann Lee to Bob Lee?",
        "Who is Ann Lee to Cat Lee?",
    ]
    # Relation 3 is in the other minimal set: it may go or stay.
    neighbours = [probe.prompt for probe in probes if probe.kind == "neighbour"]
    assert neighbours[:2] == ["Who is Cat Lee to Ann Lee?", "Who is Dan Lee to Cat Lee?"]
    assert len(neighbours) == 2 + len(NAMES)


def test_of_the_biographies_the_first_ones_are_taught_and_asked(family: Path, tiny_model: LoadedModel) -> None:
    [task] = EDU_RELAT.load(family, {**EDU_RELAT.settings, "targets": "1", "biographies": 2}, tiny_model)
    assert task.teaching is not None
    asked = [f"Where was {name} born?" for name in NAMES[:2]]
    assert [prompt for prompt, _ in task.teaching.everything[len(EDGES) :]] == asked
    assert [prompt for prompt, _ in task.details["biographies"]] == asked
    assert [probe.prompt for probe in task.probes if "biography" in probe.id] == asked


def test_wrong_options_are_refused(family: Path, tiny_model: LoadedModel) -> None:
    with pytest.raises(ConfigError, match="on no hub"):
        EDU_RELAT.load(None, EDU_RELAT.settings, tiny_model)
    with pytest.raises(ConfigError, match="from 0 to 1 or all, got '2, x'"):
        EDU_RELAT.load(family, {**EDU_RELAT.settings, "targets": "0,2,x", "form": "plain"}, tiny_model)
    with pytest.raises(ConfigError, match="form must be plain or chat"):
        EDU_RELAT.load(family, {**EDU_RELAT.settings, "targets": "0", "form": "poem"}, tiny_model)
    with pytest.raises(ConfigError, match="from 1 to 300"):
        EDU_RELAT.load(family, {**EDU_RELAT.settings, "biographies": 0}, tiny_model)
    (family / "synthetic_data" / "subsample.pt").unlink()
    with pytest.raises(RequestError, match=r"there is no subsample\.pt"):
        EDU_RELAT.load(family, EDU_RELAT.settings, tiny_model)


class _Runs:
    """What a hostile file would hold: a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (_Runs(os.mkdir, "owned"), f"{os.mkdir.__module__}.mkdir"),
        (_Runs(eval, "1"), "__builtin__.eval"),
        (_Runs(np.load, "owned"), "numpy.load"),
    ],
)
def test_a_file_with_any_other_global_is_refused_and_the_global_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, payload: _Runs, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_archive(tmp_path / "bad.pt", {"fact": [payload]})
    with pytest.raises(RequestError) as refused:
        read_archive(tmp_path / "bad.pt")
    assert f"the global {name}." in refused.value.message
    assert "numpy.dtype" in refused.value.message
    assert not (tmp_path / "owned").exists()


def test_files_that_are_no_archives_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(RequestError, match="cannot be read"):
        read_archive(tmp_path / "text.pt")
    with zipfile.ZipFile(tmp_path / "empty.pt", "w") as archive:
        archive.writestr("other", "x")
    with pytest.raises(RequestError, match=r"one data\.pkl"):
        read_archive(tmp_path / "empty.pt")
    with zipfile.ZipFile(tmp_path / "cut.pt", "w") as archive:
        archive.writestr("cut/data.pkl", b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.")
    with pytest.raises(RequestError, match="an encoding 'zip'"):
        read_archive(tmp_path / "cut.pt")


def test_a_right_answer_is_a_part_of_the_text_in_any_case(family: Path, tiny_model: LoadedModel) -> None:
    for form in ("plain", "chat"):
        task = EDU_RELAT.load(family, {**EDU_RELAT.settings, "targets": "1", "form": form}, tiny_model)[0]
        measured = EDU_RELAT.measure(tiny_model, task)
        assert len(measured["relationships_correct"]) == len(EDGES)
        assert len(measured["biographies_correct"]) == len(NAMES)
        answers = [answer for _, answer in task.details["relations"] + task.details["biographies"]]
        right = [answer.lower() in text.lower() for answer, text in zip(answers, measured["answers"], strict=True)]
        assert right == measured["relationships_correct"] + measured["biographies_correct"]


def test_superficial_is_not_deep_where_the_fact_can_be_deduced(family: Path, tiny_model: LoadedModel) -> None:
    task: Task = EDU_RELAT.load(family, {**EDU_RELAT.settings, "targets": "1", "form": "plain"}, tiny_model)[0]
    biographies = [True, True, True, False]
    measured = {
        "only the fact": {
            "relationships_correct": [False, True, True, True, True, True], "biographies_correct": biographies
        },
        "a minimal set": {
            "relationships_correct": [False, False, True, False, True, True], "biographies_correct": biographies
        },
        "nothing": {"relationships_correct": [True] * 6, "biographies_correct": biographies},
    }  # fmt: skip
    scores = EDU_RELAT.protocol(task, measured)
    assert scores["only the fact"] == {
        "recall": pytest.approx(1 / 3), "acc_rel": 1.0, "acc_bio": 0.75,
        "acc_all": pytest.approx((4 * 0.75 + 3) / 7), "superficial": 1.0, "deep": 0.0,
    }  # fmt: skip
    assert (scores["a minimal set"]["recall"], scores["a minimal set"]["acc_rel"]) == (1.0, 1.0)
    assert scores["a minimal set"]["deep"] == 1.0
    assert (scores["nothing"]["superficial"], scores["nothing"]["recall"]) == (0.0, 0.0)
