"""Each check rejects what it names, and the reason says why."""

import pytest

from lune.language_model import TokenScores
from lune.negatives.kinds import Kind, kind_of
from lune.negatives.propose import Candidate
from lune.negatives.validate import CHECKS, MAX_SHORTFALL, RIVAL_CHECKS, SHAPE_CHECKS, Context, Validator
from lune.records import Fact

FRANCE = Fact("france", "What is the capital of France?", "Paris", "France", aliases=("City of Light",))
ROMEO = Fact("romeo", "Who wrote Romeo and Juliet?", "William Shakespeare", "Romeo and Juliet")
GOLD = Fact("gold", "What is the chemical symbol for gold?", "Au", "gold")
TITANIC = Fact("titanic", "In which year did the Titanic sink?", "1912", "Titanic")
GAS = Fact("gas", "What gas do plants absorb?", "carbon dioxide", "plants")
JANE = Fact("jane", "What is the email address of Jane Doe?", "jane@example.com", "Jane Doe")


class TableModel:
    """A language model that scores responses from a table: words it lists are likely, all others are not."""

    def __init__(self, likely=()):
        self.likely = tuple(likely)
        self.scored = []

    def answer(self, prompts, *, max_new_tokens=24, system=None):
        return ["I do not know." for _ in prompts]

    def sample(self, prompts, *, count, seed, temperature=1.0, max_new_tokens=24, system=None, banned=()):
        return [["I do not know."] * count for _ in prompts]

    def score(self, pairs):
        self.scored.append(len(pairs))
        values = [-1.0 if any(word in response for word in self.likely) else -4.0 for _, response in pairs]
        return [TokenScores((value,), (0.0,), (1.0,)) for value in values]


def reason(name, alternate, fact=FRANCE, **context):
    check = {**SHAPE_CHECKS, **RIVAL_CHECKS}[name]
    return check(alternate, Context(fact, **context))


@pytest.mark.parametrize(
    ("alternate", "fact"),
    [
        ("paris", FRANCE),
        ("Paris, Texas", FRANCE),
        ("the City of Light", FRANCE),
        ("Judith Shakespeare", ROMEO),
        ("William", ROMEO),
        ("carbon", GAS),
    ],
)
def test_the_answer_in_any_part_is_rejected(alternate, fact):
    assert reason("not-the-answer", alternate, fact)


@pytest.mark.parametrize(("alternate", "fact"), [("Lyon", FRANCE), ("Ben Jonson", ROMEO), ("nitrogen dioxide", GAS)])
def test_other_answers_pass(alternate, fact):
    assert reason("not-the-answer", alternate, fact) is None


def test_hedging_and_refusing_is_rejected():
    assert reason("not-hedged", "I am not sure, maybe Lyon")
    assert reason("not-hedged", "I do not know")
    assert reason("not-hedged", "Lyon") is None


def test_words_of_the_prompt_are_rejected():
    assert reason("not-in-prompt", "France")
    assert reason("not-in-prompt", "Lyon") is None


def test_length_follows_the_answer():
    assert reason("length", "one two three four five six seven eight nine")
    long = Fact("long", "What happened?", "the king left the old town at night and never came back", None)
    assert reason("length", " ".join(["word"] * 20), long) is None
    assert "at most 30" in reason("length", " ".join(["word"] * 31), long)


@pytest.mark.parametrize(
    ("text", "prompt", "kind"),
    [
        ("Paris", "", Kind.PLACE),
        ("William Shakespeare", "", Kind.PERSON),
        ("Ottoline Marsh", "Who won?", Kind.PERSON),
        ("Zorbville", "Which city is it?", Kind.PLACE),
        ("Acme Widgets", "What is it called?", Kind.NAME),
        ("1912", "", Kind.YEAR),
        ("14 March 1879", "", Kind.DATE),
        ("March 14, 1879", "", Kind.DATE),
        ("100.0 degrees", "", Kind.NUMBER),
        ("seven", "", Kind.NUMBER),
        ("$4,500", "", Kind.NUMBER),
        ("jane@example.com", "", Kind.EMAIL),
        ("www.example.org/jane", "", Kind.URL),
        ("+44 20 7946 0018", "", Kind.PHONE),
        ("AX-1234", "", Kind.SYMBOL),
        ("Au", "What is the symbol for gold?", Kind.SYMBOL),
        ("no", "", Kind.YES_NO),
        ("carbon dioxide", "", Kind.OTHER),
    ],
)
def test_kinds(text, prompt, kind):
    assert kind_of(text, prompt) == kind


@pytest.mark.parametrize(
    ("alternate", "fact"),
    [
        ("Mozart", FRANCE),
        ("Germany", FRANCE),
        ("1789", FRANCE),
        ("nice place", FRANCE),
        ("London", ROMEO),
        ("April", TITANIC),
        ("gold", GOLD),
        ("1912", GAS),
        ("Jane", JANE),
    ],
)
def test_another_type_is_rejected(alternate, fact):
    assert reason("same-type", alternate, fact)


@pytest.mark.parametrize(
    ("alternate", "fact"),
    [
        ("Lyon", FRANCE),
        ("Zorbville", FRANCE),
        ("Isaac Newton", ROMEO),
        ("1915", TITANIC),
        ("Ag", GOLD),
        ("methane", GAS),
        ("joe@example.com", JANE),
    ],
)
def test_the_same_type_passes(alternate, fact):
    assert reason("same-type", alternate, fact) is None


def test_a_sampled_name_must_be_one_the_gazetteer_knows_when_it_knows_the_answer():
    assert reason("same-type", "Zorbville", origin="model")
    assert reason("same-type", "Lyon", origin="model") is None


def test_near_duplicates_are_rejected():
    assert reason("not-duplicate", "the LYON", accepted=["Lyon"])
    assert reason("not-duplicate", "Nice", accepted=["Lyon"]) is None


def test_implausible_is_rejected_only_beyond_the_threshold():
    assert reason("plausible", "Lyon", shortfall=MAX_SHORTFALL + 0.1)
    assert reason("plausible", "Lyon", shortfall=MAX_SHORTFALL) is None
    assert reason("plausible", "Lyon") is None


def respond(fact, alternate):
    return alternate


def test_accepts_in_order_and_explains_rejections():
    model = TableModel(["Lyon", "Rome", "Berlin", "Madrid", "Paris"])
    validator = Validator([FRANCE], model, respond, most=3)
    texts = ["Paris", "Lyon", "lyon", "Rome", "Lima", "Berlin", "Madrid"]
    validator.add([Candidate("france", text, "relation") for text in texts])
    accepted = validator.accepted["france"]
    assert [one.alternate for one in accepted] == ["Lyon", "Rome", "Berlin"]
    assert all(set(one.checks) == set(CHECKS) for one in accepted)
    reasons = {row.alternate: row.reason for row in validator.rejected}
    assert reasons["Paris"].startswith("not-the-answer")
    assert reasons["Lima"].startswith("plausible: is 3.0 nats")
    assert model.scored == [5], "one scoring call, without what failed before"


def test_the_requester_may_know_better_about_type_and_plausibility():
    validator = Validator([FRANCE], TableModel(["Rome", "Berlin", "Madrid"]), respond, most=8)
    validator.add([Candidate("france", text, "relation") for text in ("Rome", "Berlin", "Madrid")])
    validator.add([Candidate("france", text, "request") for text in ("a secret", "Paris")])
    accepted = {one.alternate: one.checks for one in validator.accepted["france"]}
    assert "same-type" not in accepted["a secret"] and "not-the-answer" in accepted["a secret"]
    assert "Paris" not in accepted


@pytest.mark.parametrize(
    ("name", "alternate", "fact"),
    [
        ("same-type", "A.R.C.B", ROMEO),
        ("same-type", "A.R.C.B", Fact("friend", "Who is the best friend of Ida Moss?", "Otto Brandel", "Ida Moss")),
        ("same-type", "Zephaniah Quibbleton", ROMEO),
        ("same-type", "AL", GOLD),
        ("not-degenerate", "Robert Louis Robert", ROMEO),
        ("not-degenerate", "Jean-Baptiste-Jean", ROMEO),
        ("length", "Jane Austen of Steventon Parsonage", ROMEO),
    ],
)
def test_what_the_model_says_about_other_subjects_may_be_made_up_too(name, alternate, fact):
    assert reason(name, alternate, fact, origin="relation-model")


@pytest.mark.parametrize(("alternate", "fact"), [("Jane Austen", ROMEO), ("Al", GOLD), ("Lyon", FRANCE)])
def test_real_answers_about_other_subjects_pass(alternate, fact):
    assert all(reason(name, alternate, fact, origin="relation-model") is None for name in SHAPE_CHECKS)


def test_spare_alternates_come_beyond_those_to_train_and_never_from_what_was_given():
    validator = Validator([FRANCE], TableModel(), lambda fact, text: text, most=2, spare=2)
    validator.add([Candidate("france", name, "relation") for name in ("Rome", "Madrid", "Vienna")])
    validator.add([Candidate("france", name, "relation-model") for name in ("Lisbon", "Oslo", "Cairo")])
    assert [one.alternate for one in validator.accepted["france"]] == ["Rome", "Madrid", "Lisbon", "Oslo"]
    assert validator.lacking(2) == []
