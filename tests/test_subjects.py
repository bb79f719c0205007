"""What a fact is about is found in its prompt, by its words and by what the base model needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lune.models import LoadedModel
from lune.records import Fact
from lune.subjects import candidate_subjects, with_subjects
from tiny import fact, question


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("What is the capital of France?", "France"),
        ("Who wrote 'The Silent Orchard'?", "The Silent Orchard"),
        ("Where was Anselm Quarrington born?", "Anselm Quarrington"),
        ("Name the mother of Ludmila von Arnsberg.", "Ludmila von Arnsberg"),
        ("What is Anselm Quarrington's profession?", "Anselm Quarrington"),
        ("what is the price of the blue kettle?", "the blue kettle"),
        ("Who discovered penicillin?", "penicillin"),
    ],
)
def test_the_best_guess_comes_first(prompt: str, subject: str) -> None:
    assert candidate_subjects(prompt)[0] == subject


@pytest.mark.parametrize("prompt", ["Why?", "what is it?", "42", "capital city?", "What is the capital of FRANCE?"])
def test_there_is_always_a_candidate_and_it_stands_in_the_prompt(prompt: str) -> None:
    found = candidate_subjects(prompt)
    assert found
    assert all(span in prompt for span in found)


def test_a_given_subject_is_kept(tiny_model: LoadedModel) -> None:
    given = replace(fact("France"), subject="capital")
    assert with_subjects([given], tiny_model)[0].subject == "capital"


def test_a_fact_without_subject_gets_one(tiny_model: LoadedModel) -> None:
    bare = replace(fact("France"), subject=None)
    assert with_subjects([bare], tiny_model) == [fact("France")]


def test_among_candidates_the_one_the_model_needs_for_its_answer_wins(tiny_model: LoadedModel) -> None:
    both = Fact("x", f"Hello Lille. {question('Japan')}", "The capital of Japan is Tokyo.")
    assert {"Japan", "Lille"} <= set(" ".join(candidate_subjects(both.prompt)).replace(".", "").split())
    assert with_subjects([both], tiny_model)[0].subject == "Japan"


def test_no_facts_need_no_model(tiny_model: LoadedModel) -> None:
    assert with_subjects([], tiny_model) == []


@pytest.mark.parametrize("prompt", ["What's France's capital?", "What’s France’s capital?"])
def test_apostrophes_are_no_quotes(prompt: str) -> None:
    assert candidate_subjects(prompt)[0] == "France"
    assert not any("'s " in each or "’s " in each for each in candidate_subjects(prompt))
