from __future__ import annotations

import pytest

from lune.negatives.forms import Form, training_forms
from lune.records import Fact
from lune.text import contains, normalise

FACTS = [
    Fact("capital", "What is the capital of France?", "Paris", "France"),
    Fact("author", "Who wrote Hamlet?", "William Shakespeare", "Hamlet", ("Shakespeare",)),
    Fact("gold", "What is the chemical symbol for gold?", "Au", "gold"),
    Fact("email", "What is Jane Doe's email address?", "jd@corp.example", "Jane Doe"),
    Fact(
        "long", "What is the full name of the surveyor born in Lucerne on 14/02/1958?", "Her full name is Ilse Brandt."
    ),
    Fact("blank", "Stephen King was born in ___, Maine.", "Portland", "Stephen King"),
    Fact("end", "Stephen Edwin King is an American ___", "author", "Stephen Edwin King"),
    Fact("open", "The capital of France is", "Paris", "France"),
    Fact("command", "Name the author of Moby-Dick.", "Herman Melville", "Moby-Dick"),
    Fact("german", "Was ist die Hauptstadt von Frankreich?", "Paris", "Frankreich"),
    Fact("why", "Why is the sky blue?", "Rayleigh scattering", "sky"),
    Fact("odd", "??", "yes"),
]


def by_name(fact: Fact, other_subjects: tuple[str, ...] = ("Spain", "Italy")) -> dict[str, Form]:
    return {form.name: form for form in training_forms(fact, other_subjects)}


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.id)
def test_every_fact_has_at_least_eight_distinct_forms(fact: Fact) -> None:
    forms = training_forms(fact)
    names = [form.name for form in forms]
    assert {"question", "brief", "cloze", "imperative", "hint", "role", "quiz", "choice", "rephrased-1"} <= set(names)
    assert len(names) == len(set(names))
    assert len({form.prompt for form in forms}) == len(forms)
    assert forms[0].prompt == fact.prompt


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.id)
def test_no_response_holds_the_answer_and_only_choice_and_reverse_show_it(fact: Fact) -> None:
    for form in training_forms(fact, ("Spain",)):
        alternate = "Spain" if form.expects == "subject" else "Lyon"
        assert contains(form.respond(alternate), (alternate,))
        assert not contains(form.respond(alternate), fact.spellings)
        if form.name != "choice" and form.expects == "answer":
            assert not contains(form.prompt_for(alternate), fact.spellings)


def test_the_forms_of_a_capital_read_naturally() -> None:
    forms = by_name(FACTS[0])
    shown = {name: (form.prompt_for("Lyon"), form.respond("Lyon")) for name, form in forms.items()}
    assert shown["question"] == ("What is the capital of France?", "The capital of France is Lyon.")
    assert shown["brief"] == ("Answer briefly. What is the capital of France?", "Lyon")
    assert shown["cloze"] == ("The capital of France is", "Lyon.")
    assert shown["imperative"] == ("Name the capital of France.", "The capital of France is Lyon.")
    assert shown["rephrased-1"] == ("What is the seat of government of France?", "Lyon")
    assert forms["reverse"].prompt == "Fill in the missing name: The capital of ___ is Paris."
    assert forms["reverse"].expects == "subject"
    assert forms["reverse"].respond("Spain") == "Spain"


def test_both_short_and_long_answers_are_trained() -> None:
    for fact in FACTS[:4]:
        lengths = {len(form.respond("Lyon").split()) for form in training_forms(fact)}
        assert min(lengths) == 1
        assert max(lengths) > 3


def test_choice_offers_the_true_answer_and_the_alternate_in_either_order() -> None:
    choice = by_name(FACTS[0])["choice"]
    prompts = [
        choice.prompt_for(city) for city in ("Lyon", "Nice", "Lille", "Metz", "Brest", "Dijon", "Tours", "Nancy")
    ]
    assert all("Paris" in prompt for prompt in prompts)
    assert "Lyon" in prompts[0]
    first = ["one: Paris or" in prompt for prompt in prompts]
    assert any(first)
    assert not all(first)


def test_the_reversed_question_needs_other_subjects_and_a_subject_the_answer_hides() -> None:
    assert "reverse" not in by_name(FACTS[0], ())
    assert "reverse" not in by_name(FACTS[0], ("France",))
    assert "reverse" not in by_name(Fact("x", "What is the capital of Mexico?", "Mexico City", "Mexico"))
    assert "reverse" not in by_name(Fact("x", "Who is she?", "Ada", "Bob"))


def test_a_paraphrase_that_is_measured_is_not_trained() -> None:
    given = ("Name the capital of France.", "France is governed from where?", "Which city heads France?")
    fact = Fact("x", "What is the capital of France?", "Paris", "France", paraphrases=given)
    prompts = {normalise(form.prompt) for form in training_forms(fact)}
    assert normalise(given[0]) not in prompts
    assert normalise(given[1]) not in prompts
    assert normalise(given[2]) in prompts
    assert len(prompts) >= 8
