"""The shipped real facts, and the checks that every such file must pass."""

from __future__ import annotations

import copy
import json
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from lune.errors import RequestError
from lune.gazetteer import entity_type
from lune.text import normalise
from lune.world_facts import (
    ALWAYS_DEV,
    FILE_NAME,
    WorldFact,
    fact_problems,
    others_of_relation,
    read_world,
    relation_problems,
    shape_problems,
    sources,
    split_of,
)

FACTS = read_world()
CAPITAL_PROMPTS = [
    "What is the capital of {}?",
    "Name the capital of {}.",
    "The capital of {} is",
    "Which city rules {}?",
    "Tell me which town leads {}.",
]
SMALL: dict[str, Any] = {
    "capital": {
        "source": "an atlas",
        "prompts": CAPITAL_PROMPTS,
        "facts": {"France": "Paris", "the Netherlands": ["Amsterdam", "Mokum"], "Ukraine": ["Kyiv", "Kiev"]},
    }
}


def write(folder: Path, document: Any) -> Path:
    (folder / FILE_NAME).write_text(json.dumps(document), encoding="utf-8")
    return folder


def named(relation: str) -> list[WorldFact]:
    return [fact for fact in FACTS if fact.relation == relation]


# --- the shipped facts


def test_every_shipped_fact_can_be_asked() -> None:
    text = files("lune").joinpath("data", FILE_NAME).read_text(encoding="utf-8")
    relations = json.loads(text)
    assert list(shape_problems(relations)) == []
    assert list(relation_problems(relations)) == []
    assert list(fact_problems(FACTS)) == []


def test_shipped_facts_are_many_and_of_many_relations() -> None:
    counts = Counter(fact.relation for fact in FACTS)
    assert len(FACTS) >= 400
    assert len(counts) >= 14
    assert min(counts.values()) >= 25
    assert set(sources()) == set(counts)
    assert all(len(source.split()) >= 2 for source in sources().values())
    shared = Counter(fact.subject for fact in FACTS)
    assert sum(count > 1 for count in shared.values()) >= 100
    assert shared["France"] >= 4


@pytest.mark.parametrize("relation", ["capital", "state capital", "chemical symbol", "atomic number", "past tense"])
def test_answers_of_one_to_one_relations_differ(relation: str) -> None:
    answers = Counter(normalise(fact.answer) for fact in named(relation))
    assert [answer for answer, count in answers.items() if count > 1] == []
    assert answers


def test_countries_take_the_article_that_they_need() -> None:
    entities = json.loads(files("lune").joinpath("data", "entities.json").read_text(encoding="utf-8"))
    need = set(entities["country"]["article"])
    for fact in named("capital") + named("language"):
        assert entity_type(fact.subject) == "country", fact.subject
        for prompt in fact.prompts:
            assert (f"the {fact.subject}" in prompt) is (fact.subject in need), prompt


def test_both_splits_hold_facts_of_every_relation() -> None:
    subjects = {fact.subject for fact in FACTS}
    dev = [subject for subject in subjects if split_of(subject) == "dev"]
    assert len(dev) / len(subjects) == pytest.approx(0.4, abs=0.04)
    for relation in sources():
        counts = Counter(fact.split for fact in named(relation))
        assert min(counts["dev"], counts["test"]) >= 4, relation


def test_the_document_lists_every_relation_with_its_counts_and_source() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "world.md").read_text(encoding="utf-8")
    for relation, source in sources().items():
        counts = Counter(fact.split for fact in named(relation))
        assert f"| {relation} | {counts.total()} | {counts['dev']} | {counts['test']} |" in text
        assert f"| {source} |" in text


def test_the_split_of_a_subject_depends_on_its_name_alone() -> None:
    assert split_of("France") == split_of("france")
    assert {fact.split for fact in FACTS if fact.subject == "France"} == {split_of("France")}
    # Fixed for good: recipes were chosen on one side and reported on the other.
    assert {normalise(fact.subject) for fact in FACTS} >= ALWAYS_DEV
    assert [split_of(name) for name in ("France", "Japan", "gold", "Hamlet", "hot", "dog", "Kenya", "Norway")] == PINNED


PINNED = ["dev", "dev", "dev", "test", "dev", "dev", "dev", "test"]


def test_other_subjects_of_a_relation_are_found_by_its_wordings() -> None:
    others = others_of_relation("What is the opposite of hot?", "hot")
    assert {"big", "tall", "north"} <= set(others)
    assert "hot" not in others
    assert others_of_relation("Give the plural form of the noun 'mouse'.", "mouse")[:2] == ("child", "foot")
    assert "United Kingdom" in others_of_relation("what is the currency of the Netherlands", "Netherlands")
    assert others_of_relation("Who repaired the clock of Dunwich?", "clock of Dunwich") == ()


# --- reading and refusing


def test_a_folder_of_the_same_layout_is_read(tmp_path: Path) -> None:
    facts = read_world(write(tmp_path, SMALL))
    assert [fact.subject for fact in facts] == ["France", "Netherlands", "Ukraine"]
    netherlands = facts[1]
    assert netherlands.id == "capital.netherlands"
    assert netherlands.prompts[0] == "What is the capital of the Netherlands?"
    assert netherlands.spellings == ("Amsterdam", "Mokum")
    assert sources(tmp_path) == {"capital": "an atlas"}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=FILE_NAME):
        read_world(tmp_path)


def test_a_subject_given_twice_is_refused(tmp_path: Path) -> None:
    text = json.dumps(SMALL).replace('"Ukraine"', '"France"')
    (tmp_path / FILE_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match="twice in one object: France"):
        read_world(tmp_path)


def changed(**fields: Any) -> dict[str, Any]:
    document = copy.deepcopy(SMALL)
    document["capital"].update(fields)
    return document


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "must hold"),
        ({"capital": {"prompts": CAPITAL_PROMPTS, "facts": {"France": "Paris"}}}, "source, prompts and facts"),
        (changed(source=" "), "source must be a text"),
        (changed(prompts="What?"), "prompts must be a list"),
        (changed(facts={}), "facts must be an object"),
        (changed(facts={"France": []}), "the answer must be a text"),
        (changed(prompts=CAPITAL_PROMPTS[:4]), "has 4 prompts, at least 5"),
        (changed(prompts=[*CAPITAL_PROMPTS, "what is the capital of {}"]), "two prompts say the same"),
        (changed(prompts=[*CAPITAL_PROMPTS[1:], "{} is ruled from"]), "not at its beginning"),
        (changed(prompts=[*CAPITAL_PROMPTS[1:], "Name the capital."]), "must have {} once"),
        (changed(facts={"France": ["Paris", "Lutetia, Paris"]}), "idle"),
        (changed(facts={"France": "the"}), "cannot be recognised"),
        (changed(facts={"Paris (France)": "Paris"}), "contains the answer"),
        (changed(facts={"Town": "Paris"}), "exactly once"),
        (changed(facts={"France": "Paris", "FRANCE": "Lyon"}), "spelled 'France' elsewhere"),
        (changed(facts={"France": "Paris", "France ": "Lyon"}), "also asked for capital, France"),
        (changed(facts={"France": "Paris", "the France": "Paris"}), "two facts have this id"),
        ({**SMALL, "seat": {**SMALL["capital"], "facts": {"France": "Lyon"}}}, "also asked for capital, France"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, document: Any, problem: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_world(write(tmp_path, document))
    assert any(problem in text for text in caught.value.problems), caught.value.problems
