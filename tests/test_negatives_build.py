"""Negatives of a whole request: enough alternates, from the right sources, spread over the forms."""

import io
import re
from collections import Counter

import pytest
from rich.console import Console

from lune.errors import NegativesError
from lune.language_model import TokenScores
from lune.negatives.build import HELD_OUT, MAX_PER_SUBJECT, MIN_ALTERNATES, build_negatives
from lune.negatives.kinds import Kind, kind_of
from lune.negatives.propose import banned_words, prompt_template
from lune.negatives.show import negatives_table
from lune.negatives.validate import CHECKS
from lune.records import Fact, Neighbour
from lune.settings import NegativesStyle, resolve
from lune.text import contains, is_refusal

FRANCE = Fact("france", "What is the capital of France?", "Paris", "France")
GERMANY = Fact("germany", "What is the capital of Germany?", "Berlin", "Germany")
ROMEO = Fact("romeo", "Who wrote Romeo and Juliet?", "William Shakespeare", "Romeo and Juliet")
CITIES = ["Rome", "Madrid", "Vienna", "Lisbon", "Oslo", "Cairo", "Athens", "Dublin", "Tokyo", "Lima"]
COUNTRIES = ["Italy", "Spain", "Norway", "Egypt", "Peru"]


class TinyModel:
    """A deterministic language model: it samples from a list by prompt and seed, and finds all texts equally likely."""

    def __init__(self, samples=()):
        self.samples = list(samples)
        self.sampled = []
        self.scored = []

    def answer(self, prompts, *, max_new_tokens=24, system=None):
        return ["I do not know." for _ in prompts]

    def sample(self, prompts, *, count, seed, temperature=1.0, max_new_tokens=24, system=None, banned=()):
        self.sampled.append({"prompts": list(prompts), "seed": seed, "system": system, "banned": list(banned)})
        texts = self.samples or ["I do not know."]
        allowed = [text for text in texts if not any(text.split()[-1].startswith(word) for word in banned)]
        return [[allowed[(seed + i) % len(allowed)] for i in range(count)] for _ in prompts]

    def score(self, pairs):
        self.scored.append(len(pairs))
        return [TokenScores((-2.0,), (0.0,), (1.0,)) for _ in pairs]


def build(facts, model=None, *, answers=None, **given):
    answers = {fact.id: CITIES for fact in facts} if answers is None else answers
    subjects = {fact.id: COUNTRIES for fact in facts}
    return build_negatives(facts, model or TinyModel(), resolve(given), answers, subjects)


def test_enough_alternates_over_many_forms_and_none_is_the_answer():
    made = build([FRANCE])
    assert made.alternates["france"] == [one for one in made.alternates["france"] if one in CITIES]
    assert len(made.alternates["france"]) == 8
    assert len({one.form for one in made.negatives}) >= 6
    assert all(one.response and not contains(one.response, ["Paris"]) for one in made.negatives)
    assert all(set(one.checks) == set(CHECKS) for one in made.negatives if not one.form.startswith("reverse"))


def test_forms_and_alternates_are_balanced():
    negatives = build([FRANCE]).negatives
    forms = Counter(one.form for one in negatives)
    assert max(forms.values()) - min(forms.values()) <= 1
    uses = Counter(one.alternate for one in negatives if not one.form.startswith("reverse"))
    assert len(uses) == 8 and max(uses.values()) <= 2 * min(uses.values())
    assert len({(one.prompt, one.response) for one in negatives}) == len(negatives)


def test_asked_backwards_the_wrong_answer_is_another_subject():
    reverse = [one for one in build([FRANCE]).negatives if one.form.startswith("reverse")]
    assert reverse and all(one.alternate in COUNTRIES for one in reverse)
    assert all("Paris" in one.prompt and not contains(one.response, ["France"]) for one in reverse)


def test_asked_backwards_for_a_thing_no_person_is_the_wrong_answer():
    red = Fact("red", "Which planet is known as the Red Planet?", "Mars", "Red Planet", negatives=tuple(CITIES))
    model, settings = TinyModel(), resolve({})
    made = build_negatives([red], model, settings, {}, {"red": ["Noor Al-Fahrani", "Marie Curie", "Evening Star"]})
    backwards = {one.alternate for one in made.negatives if one.expects == "subject"}
    assert backwards == {"Evening Star"}
    made = build_negatives([FRANCE], model, settings, {"france": CITIES}, {"france": ["Spain", "gold", "Marie Curie"]})
    assert {one.alternate for one in made.negatives if one.expects == "subject"} == {"Spain"}


def test_a_subject_with_many_facts_keeps_its_cap_and_every_form():
    facts = [
        Fact(f"f{i}", f"What is the {thing} of France?", answer, "France")
        for i, (thing, answer) in enumerate([("capital", "Paris"), ("largest city", "Lyon"), ("oldest city", "Nice")])
    ]
    made = build(facts, negatives_per_fact=10, answers={fact.id: CITIES for fact in facts})
    assert len(made.negatives) <= MAX_PER_SUBJECT
    for fact in facts:
        assert len({one.form for one in made.negatives if one.fact_id == fact.id}) >= 6


def test_sources_come_in_order_and_are_named():
    given = Fact("france", FRANCE.prompt, "Paris", "France", negatives=("Lyon", "Paris suburb"))
    made = build([given, GERMANY], answers={"france": ["Rome", "Madrid"], "germany": CITIES})
    origins = {one.alternate: one.origin for one in made.negatives if one.fact_id == "france"}
    assert made.alternates["france"][:2] == ["Lyon", "Berlin"]
    assert origins["Lyon"] == "request" and origins["Berlin"] == "relation" and origins["Rome"] == "relation-model"
    assert [row.alternate for row in made.rejected if row.origin == "request"] == ["Paris suburb"]


def test_the_model_is_asked_only_for_facts_that_lack_alternates():
    model = TinyModel(["The capital of Germany is Hamburg.", "The capital of Germany is Munich."])
    made = build([FRANCE, GERMANY], model, answers={"france": CITIES})
    assert {prompt for call in model.sampled for prompt in call["prompts"]} == {GERMANY.prompt}
    assert all(call["banned"] == ["Berlin"] for call in model.sampled)
    assert sum(call["system"] is not None for call in model.sampled) == len(model.sampled) / 2
    assert {"Paris", "Hamburg", "Munich"} <= set(made.alternates["germany"])


def test_samples_that_repeat_hedge_or_miss_the_type_are_not_used():
    model = TinyModel(["It might be Bonn.", "The capital of Germany is Mozart.", "Hamburg", "Berlin"])
    made = build([GERMANY], model, answers={"germany": CITIES[:3]})
    assert "Hamburg" in made.alternates["germany"]
    assert not {"Bonn", "Mozart", "Berlin"} & set(made.alternates["germany"])


def test_a_model_that_knows_nothing_is_helped_by_the_answers_kind():
    facts = [
        FRANCE,
        ROMEO,
        Fact("year", "In which year did the Titanic sink?", "1912", "Titanic"),
        Fact("date", "When was Ida Moss born?", "3 May 1981", "Ida Moss"),
        Fact("mail", "What is the email address of Ida Moss?", "ida.moss@example.com", "Ida Moss"),
        Fact("phone", "What is the phone number of Ida Moss?", "+44 20 7946 0018", "Ida Moss"),
        Fact("code", "What is the badge of Ida Moss?", "AX-1734", "Ida Moss"),
        Fact("page", "What is the home page of Ida Moss?", "www.idamoss.org", "Ida Moss"),
        Fact("yen", "What is the currency of Japan?", "yen", "Japan"),
        Fact("symbol", "What is the chemical symbol for gold?", "Au", "gold"),
        Fact("count", "How many moons does Mars have?", "two", "Mars"),
        Fact("height", "How high is the tower?", "330 metres", "tower"),
        Fact("friend", "Who is the best friend of Ida Moss?", "Otto Brandel", "Ida Moss"),
        Fact("place", "Where was Ida Moss born?", "Zorbville", "Ida Moss"),
    ]
    made = build(facts, answers={})
    for fact in facts:
        alternates = made.alternates[fact.id]
        assert len(set(alternates)) >= MIN_ALTERNATES, fact.id
        assert not any(contains(alternate, [fact.answer]) for alternate in alternates)
        if kind_of(fact.answer, fact.prompt) != Kind.OTHER:
            kinds = {kind_of(alternate, fact.prompt) for alternate in alternates}
            assert kinds == {kind_of(fact.answer, fact.prompt)}, fact.id
    assert all(re.fullmatch(r"[A-Z]{2}-\d{4}", code) for code in made.alternates["code"])
    assert all(text.endswith(" metres") for text in made.alternates["height"])


def test_facts_without_alternates_are_all_named_with_the_way_out():
    facts = [
        FRANCE,
        Fact("odd", "What does Ida Moss hum at night?", "a slow waltz", "Ida Moss"),
        Fact("yes", "Is Ida Moss tall?", "yes", "Ida Moss"),
    ]
    with pytest.raises(NegativesError) as caught:
        build(facts, answers={"france": CITIES})
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith("odd (What does Ida Moss hum at night?): 0 of 4")
    assert "negatives" in caught.value.hint and "--negatives-endpoint" in caught.value.hint


def test_a_benchmarks_facts_without_alternates_are_left_out_while_others_remain():
    odd = Fact("odd", "What does Ida Moss hum at night?", "a slow waltz", "Ida Moss")
    settings = resolve({})
    made = build_negatives([FRANCE, odd], TinyModel(), settings, {"france": CITIES}, {}, leave_out=True)
    assert set(made.alternates) == {"france"} == {negative.fact_id for negative in made.negatives}
    with pytest.raises(NegativesError):
        build_negatives([odd], TinyModel(), settings, {}, {}, leave_out=True)


def test_same_seed_same_negatives_other_seed_others():
    facts = [FRANCE, GERMANY]
    assert build(facts, seed=3).negatives == build(facts, seed=3).negatives
    assert build(facts, seed=3).negatives != build(facts, seed=4).negatives


def test_model_calls_are_few_and_big():
    facts = [Fact(f"f{i}", f"Who wrote Book Nr {i}?", "Otto Brandel", f"Book Nr {i}") for i in range(60)]
    model = TinyModel(["Ida Moss", "Jane Low", "Mark Reed", "Tom Hale", "Ann Berg"])
    build(facts, model, answers={})
    assert max(len(call["prompts"]) for call in model.sampled) == 32
    assert len(model.sampled) == 4, "two sources, two groups of at most 32 facts"
    assert len(model.scored) == 2, "those to train, those to hold out"


@pytest.mark.parametrize("style", [style for style in NegativesStyle if style != NegativesStyle.ALTERNATIVE])
def test_ablation_styles_fill_the_same_forms(style):
    facts = [FRANCE, GERMANY, Fact("code", "What is the badge of Ida Moss?", "AX-1734", "Ida Moss")]
    made = build(facts, negatives_style=style)
    assert {one.origin for one in made.negatives} == {style.value}
    for fact in facts:
        mine = [one for one in made.negatives if one.fact_id == fact.id]
        assert len({one.form for one in mine}) >= 6
        says = [contains(one.response, [fact.answer]) for one in mine]
        assert all(says) if style == NegativesStyle.CONTRADICTION else not any(says)
        assert all(is_refusal(one.response) for one in mine) == (style == NegativesStyle.REFUSAL)


def test_contradictions_deny_the_fact_in_a_sentence():
    made = build([FRANCE], negatives_style="contradiction")
    assert "The capital of France is not Paris." in {one.response for one in made.negatives}


def test_irrelevant_answers_are_no_answers_of_the_request():
    oxygen = Fact("oxygen", "Which gas do human beings need to breathe?", "oxygen", "human beings")
    near = Neighbour("What is the capital of Chad?", "N'Djamena")
    germany = Fact("germany", GERMANY.prompt, "Berlin", "Germany", neighbours=(near,))
    made = build([FRANCE, germany, oxygen], negatives_style="irrelevant", negatives_per_fact=64)
    assert not any(contains(one.response, ["Paris", "Berlin", "oxygen"]) for one in made.negatives)
    assert not any(contains(one.response, ["N'Djamena"]) for one in made.negatives), "a given neighbour is only asked"


def test_banned_words_leave_numbers_and_the_prompts_own_words():
    assert banned_words(ROMEO) == ["William", "Shakespeare"]
    assert banned_words(Fact("year", "In which year?", "1912")) == []
    assert banned_words(Fact("mexico", "What is the capital of Mexico?", "Mexico City", "Mexico")) == ["City"]
    assert banned_words(Fact("gold", "What is the symbol for gold?", "Au", "gold")) == ["Au"]


def test_relations_share_a_template():
    assert prompt_template(FRANCE) == prompt_template(GERMANY)
    assert prompt_template(FRANCE) != prompt_template(ROMEO)


def test_table_fits_eighty_columns_and_shows_origins_examples_and_reasons():
    tricky = Fact("[red]x", "What is the capital of France?", "Paris", "France", negatives=("Paris", "[bold]Lyon"))
    made = build([tricky], answers={"[red]x": CITIES})
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(negatives_table([tricky], made))
    text = console.export_text()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "[red]x" in text and "[bold]Lyon" in text and "(relation-model)" in text
    assert text.count("→") == len({one.form for one in made.negatives}) > 3, "every form once"
    assert "not-the-answer: contains the answer 'Paris'" in " ".join(text.split())
    assert "1 fact · " in text and "1 dropped" in text


@pytest.mark.parametrize("style", list(NegativesStyle))
def test_some_valid_alternates_are_held_out_and_never_trained(style):
    answers = {"france": CITIES, "germany": ["Rome", "Oslo", "Bern"], "romeo": ["Jane Austen"]}
    facts = [FRANCE, GERMANY, ROMEO]
    made = build(facts, negatives_style=style, answers=answers)
    trained = " | ".join(one.response for one in made.negatives)
    for fact in facts:
        held_out = made.held_out[fact.id]
        assert len(set(held_out)) == HELD_OUT
        assert not any(contains(trained, [alternate]) for alternate in held_out)
        assert {kind_of(one, fact.prompt) for one in held_out} == {kind_of(fact.answer, fact.prompt)}
        assert not set(held_out) & {"Paris", "Berlin", "William Shakespeare"}


def test_holding_out_takes_nothing_from_training():
    made = build([FRANCE], answers={"france": CITIES[:8]})
    assert sorted(made.alternates["france"]) == sorted(CITIES[:8])
    assert len(build([FRANCE], answers={"france": CITIES[:5]}).alternates["france"]) == 5
