"""Negatives in the model's own words."""

from __future__ import annotations

from lune.negatives.own_words import in_own_words, own_words
from lune.records import Fact, Negative

INDIA = Fact("india", "What is the currency of India?", "rupee", "India", aliases=("INR",))
FRANCE = Fact("france", "What is the capital of France?", "Paris", "France")


def negative(fact: Fact, alternate: str, form: str = "question", prompt: str | None = None) -> Negative:
    return Negative(fact.id, form, prompt or fact.prompt, f"It is {alternate}.", alternate, "relation")


def test_only_the_answer_changes() -> None:
    made = own_words(negative(FRANCE, "Rome"), FRANCE, "The capital of France is Paris, a city on the Seine.")
    assert made is not None
    assert made.response == "The capital of France is Rome."
    assert made.replaced == "Paris"


def test_a_form_of_the_subject_before_the_answer_goes_with_it() -> None:
    made = own_words(negative(INDIA, "peso"), INDIA, "The currency of India is the Indian Rupee (INR).")
    assert made is not None
    assert made.response == "The currency of India is the peso."
    assert made.replaced == "Indian Rupee"


def test_an_answer_that_does_not_give_the_fact_is_no_model_for_a_wrong_one() -> None:
    assert own_words(negative(FRANCE, "Rome"), FRANCE, "I like Lyon.") is None


def test_asked_backwards_the_subject_gives_way() -> None:
    prompt = "The capital of ___ is Paris."
    asked = Negative("france", "reverse", prompt, "Spain", "Spain", "relation", expects="subject")
    made = own_words(asked, FRANCE, "The capital of France is Paris.")
    assert made is not None
    assert made.response == "The capital of Spain."


def test_every_second_of_a_form_keeps_its_plain_wording() -> None:
    made = in_own_words(
        [negative(FRANCE, "Rome"), negative(FRANCE, "Oslo"), negative(FRANCE, "Bonn")],
        [FRANCE],
        {FRANCE.prompt: "France's capital is Paris."},
    )
    assert [each.response for each in made] == ["France's capital is Rome.", "It is Oslo.", "France's capital is Bonn."]
