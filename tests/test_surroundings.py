"""The neighbourhood of a request: what is scored was never held, and nothing forgotten is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lune.evaluation import RememberedAnswers
from lune.gazetteer import members
from lune.language_model import TokenScores
from lune.models import LoadedModel
from lune.probes.hands import hand_of
from lune.probes.selection import plausible_type
from lune.probes.surroundings import ASKED_FOR_EXAMPLES, Surroundings, look_around
from lune.records import Fact, Neighbour
from lune.text import contains
from tiny import CAPITALS, fact

FACTS = [fact("France"), fact("Japan")]


@pytest.fixture
def around(tiny_model: LoadedModel, only_taught: None) -> Surroundings:
    return look_around(FACTS, tiny_model, anchors=40, seed=0)


def test_hands_never_change_and_hold_what_they_should() -> None:
    countries = members("country")
    hands = [hand_of(country) for country in countries]
    assert hands == [hand_of(country.upper()) for country in countries]
    for hand, share in (("test", 0.4), ("dev", 0.2), ("anchor", 0.4)):
        assert hands.count(hand) / len(hands) == pytest.approx(share, abs=0.12)


def test_neighbours_are_other_countries_and_what_the_model_says_of_them(around: Surroundings) -> None:
    same = [probe for probe in around.probes if probe.relation == "same"]
    assert {probe.split for probe in same} == {"dev", "test"}
    for probe in same:
        assert probe.kind == "neighbour"
        assert probe.prompt == f"What is the capital of {probe.subject}?"
        assert probe.expected == (CAPITALS[str(probe.subject)],)
        assert probe.subject not in ("France", "Japan")


def test_subjects_that_training_holds_are_never_scored(around: Surroundings) -> None:
    held = {anchor.subject for anchor in around.anchors if anchor.relation == "same"}
    scored = {probe.subject for probe in around.probes if probe.relation == "same"}
    assert held
    assert not held & scored
    steering = {p.subject for p in around.probes if p.split == "dev" and p.relation == "same"}
    reported = {p.subject for p in around.probes if p.split == "test" and p.relation == "same"}
    assert not steering & reported
    assert all(hand_of(str(subject)) == "anchor" for subject in held)


def test_no_anchor_holds_a_forgotten_answer_or_a_scored_prompt(around: Surroundings, tiny_model: LoadedModel) -> None:
    assert 20 <= len(around.anchors) <= 40
    spellings = [spelling for each in FACTS for spelling in each.spellings]
    prompts = {probe.prompt for probe in around.probes}
    for anchor in around.anchors:
        assert anchor.prompt not in prompts
        if anchor.relation != "generic":
            assert not contains(anchor.response, spellings)
    asked = [anchor.prompt for anchor in around.anchors]
    for answer, anchor in zip(tiny_model.answer(asked, max_new_tokens=48), around.anchors, strict=True):
        assert anchor.response
        assert answer.startswith(anchor.response), "a long answer may be cut, no more"


def test_other_answers_serve_as_alternates(around: Surroundings) -> None:
    assert set(around.other_answers) == {"france", "japan"}
    for each in FACTS:
        found = around.other_answers[each.id]
        assert each.answer not in found
        assert len(set(found) & set(CAPITALS.values())) >= 4


def test_examples_of_the_in_context_attack_come_from_its_own_split(around: Surroundings) -> None:
    prompts = {split: {probe.prompt for probe in around.probes if probe.split == split} for split in ("dev", "test")}
    for (fact_id, split), examples in around.examples.items():
        assert fact_id in ("france", "japan")
        assert examples
        # More are found than are scored; none is scored in the other split.
        other = "test" if split == "dev" else "dev"
        assert not {example.prompt for example in examples} & prompts[other]


def test_given_neighbours_are_scored_as_given(tiny_model: LoadedModel, only_taught: None) -> None:
    given = replace(fact("France"), neighbours=(Neighbour("What is the capital of Spain?", "Madrid", ("Madrit",)),))
    probes = look_around([given], tiny_model, anchors=0, seed=0).probes
    assert probes[0].relation == "given"
    assert (probes[0].split, probes[0].expected) == ("test", ("Madrid", "Madrit"))


def test_what_the_requester_gave_neither_trains_nor_steers(tiny_model: LoadedModel, only_taught: None) -> None:
    prompts = ("What is the capital of Spain?", "On which continent is France?", "What is the currency of Norway?")
    given = replace(fact("France"), neighbours=tuple(Neighbour(prompt, "Xanadu") for prompt in prompts))
    for seed in range(3):
        around = look_around([given, fact("Japan")], tiny_model, anchors=120, seed=seed)
        held = [anchor.prompt for anchor in around.anchors] + [each.prompt for each in around.look_alikes]
        assert held
        assert not any(contains(text, [prompt.rstrip("?")]) for text in held for prompt in prompts)
        assert not any(contains(text, ["Spain", "Norway"]) for text in held)
        made = [probe for probe in around.probes if probe.relation != "given"]
        assert not {probe.prompt for probe in made} & set(prompts)
        assert not any(probe.subject in ("Spain", "Norway") for probe in made)


def test_another_fact_of_the_request_is_no_neighbour_of_the_first() -> None:
    capital = replace(fact("France"), answer="Paris")
    continent = Fact("continent", "On which continent is France?", "Europe", subject="France")
    free = look_around([capital], Parrot("Europe"), anchors=0, seed=0).probes
    assert any(probe.prompt == continent.prompt for probe in free), "else this shows nothing"
    for request in ([capital, continent], [capital]):
        probes = look_around(request, Parrot("Europe"), anchors=0, seed=0, whole=[capital, continent]).probes
        assert not any(probe.prompt == continent.prompt for probe in probes)
        assert not any(probe.subject == "France" and contains(probe.expected[0], ["Europe"]) for probe in probes)


def test_without_anchors_wanted_none_are_made(tiny_model: LoadedModel, only_taught: None) -> None:
    assert look_around(FACTS, tiny_model, anchors=0, seed=0).anchors == []


def test_the_seed_decides_and_repeats(tiny_model: LoadedModel, only_taught: None) -> None:
    first = look_around(FACTS, tiny_model, anchors=20, seed=1)
    assert look_around(FACTS, tiny_model, anchors=20, seed=1) == first
    assert look_around(FACTS, tiny_model, anchors=20, seed=2).anchors != first.anchors


def test_a_subject_of_no_known_kind_has_neighbours_only_where_the_model_names_known_things(
    tiny_model: LoadedModel, only_taught: None
) -> None:
    invented = Fact("x", "Where was Anselm Quarrington born?", "Lyon", subject="Zorgblat device")
    made = look_around([invented], tiny_model, anchors=10, seed=0)
    assert made.other_subjects["x"] == [subject for subject in made.other_subjects["x"] if hand_of(subject) == "anchor"]
    assert made.anchors, "generic questions fill what the request cannot"


class Parrot:
    """Answers everything alike, so that it is consistent in all it says."""

    def __init__(self, said: str) -> None:
        self.said = said

    def answer(self, prompts: Sequence[str], **_: object) -> list[str]:
        return [self.said] * len(prompts)

    def sample(self, prompts: Sequence[str], *, count: int, **_: object) -> list[list[str]]:
        return [[self.said] * count for _ in prompts]

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[TokenScores]:
        return [TokenScores((-2.0,), (0.0,), (1.0,)) for _ in pairs]


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [("Which planet is known as the Red Planet?", "Red Planet"), ("Where was Anna Nowakowa born?", "Anna Nowakowa")],
)
def test_of_a_subject_of_guessed_type_no_other_relation_is_measured(prompt: str, subject: str) -> None:
    around = look_around([Fact("x", prompt, "Mars", subject=subject)], Parrot("Lyon"), anchors=0, seed=0)
    assert [probe for probe in around.probes if probe.relation == "other"] == []
    listed = look_around([replace(FACTS[0], answer="Mars")], Parrot("Lyon"), anchors=0, seed=0)
    assert [probe for probe in listed.probes if probe.relation == "other"], "of a listed subject there are some"


def test_a_thing_called_by_a_persons_shape_is_not_asked_of_persons() -> None:
    red = Fact("x", "Which planet is known as the Red Planet?", "Mars", subject="Red Planet")
    around = look_around([red], Parrot("Lyon"), anchors=0, seed=0)
    assert not set(around.other_subjects["x"]) & set(members("person_invented"))


def test_a_number_to_call_is_no_neighbour_however_often_it_is_told() -> None:
    person = members("person_invented")[0]
    asked = Fact("x", f"What is the phone number of {person}?", "555-000-1111", subject=person)
    assert look_around([asked], Parrot("123-456-7890"), anchors=0, seed=0).probes == []


@pytest.mark.parametrize(
    ("prompt", "short", "fits"),
    [
        ("In which year was Ada born?", "mystery", False),
        ("In which year was Ada born?", "1815", True),
        ("Where was Ada born?", "1815", False),
        ("Where was Ada born?", "London", True),
        ("What is the address of Ada?", "ada@example.org", False),
        ("What is the atomic number of gold?", "79", True),
    ],
)
def test_an_expected_value_is_of_a_plausible_type(prompt: str, short: str, fits: bool) -> None:
    assert plausible_type(prompt, short) is fits


def test_where_neighbours_come_from_elsewhere_only_the_examples_are_asked_about(
    tiny_model: LoadedModel, only_taught: None
) -> None:
    asked: list[str] = []

    class Watched(RememberedAnswers):
        def answer(self, prompts: Sequence[str], **named: Any) -> list[str]:
            asked.extend(prompts)
            return super().answer(prompts, **named)

    whole = look_around(FACTS, Watched(tiny_model), anchors=0, seed=0)
    everything = len(asked)
    asked.clear()
    around = look_around(FACTS, Watched(tiny_model), anchors=0, seed=0, test_neighbours=False)
    assert len(asked) < everything
    assert [probe for probe in around.probes if probe.split == "dev"] == [
        probe for probe in whole.probes if probe.split == "dev"
    ]
    shown = {key: each for key, each in around.examples.items() if key[1] == "test"}
    assert shown
    for key, each in shown.items():
        assert each == whole.examples[key][: len(each)]
        assert len(each) <= ASKED_FOR_EXAMPLES
