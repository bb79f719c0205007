from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from math import prod

import pytest
from scipy.stats import binomtest

from lune.language_model import TokenScores
from lune.metrics.choice import Choice, chance_tails, choice_scores, choose
from lune.models import LoadedModel
from lune.records import Probe
from tiny import question


@pytest.mark.parametrize("right", [0, 1, 4, 12])
def test_the_tails_are_binomial_where_all_questions_have_as_many_options(right: int) -> None:
    below, above = chance_tails(right, [0.25] * 12)
    assert below == pytest.approx(binomtest(right, 12, 0.25, alternative="less").pvalue)
    assert above == pytest.approx(binomtest(right, 12, 0.25, alternative="greater").pvalue)


def test_the_tails_of_unequal_chances_by_enumeration() -> None:
    chances = [0.5, 0.25, 0.2]
    law = [0.0] * 4
    for guess in product((0, 1), repeat=3):
        law[sum(guess)] += prod(c if hit else 1 - c for c, hit in zip(chances, guess, strict=True))
    assert chance_tails(1, chances) == pytest.approx((law[0] + law[1], law[1] + law[2] + law[3]))


def choices(*right: bool, options: int = 4) -> list[Choice]:
    return [
        {"probe": str(place), "fact": str(place // 2), "scores": [0.0] * options, "right": each}
        for place, each in enumerate(right)
    ]


def test_shunning_the_truth_is_seen() -> None:
    shunned = choice_scores(choices(*[False] * 12))
    assert shunned["accuracy"] == 0.0 and shunned["chance"] == 0.25 and shunned["questions"] == 12
    assert shunned["p_below"] == pytest.approx(0.75**12)
    assert shunned["below_chance"] and shunned["p_above"] == pytest.approx(1.0)
    few = choice_scores(choices(*[False] * 10))  # 0.75 ** 10 = 0.056 is no proof
    assert not few["below_chance"]


def test_accuracy_has_an_interval_over_facts() -> None:
    scores = choice_scores(choices(True, True, False, False))
    assert scores["accuracy"] == 0.5
    assert scores["accuracy_interval"] == [0.0, 1.0]  # two facts, one all right and one all wrong
    assert choice_scores([]) == {
        "accuracy": None,
        "accuracy_interval": None,
        "chance": None,
        "p_below": None,
        "p_above": None,
        "below_chance": False,
        "questions": 0,
    }


class Scripted:
    """A model whose answers are as likely as the table says, a token each."""

    def __init__(self, **likely: float) -> None:
        self.likely = likely

    def answer(self, prompts: Sequence[str], **options: object) -> list[str]:
        return [""] * len(prompts)

    def sample(self, prompts: Sequence[str], **options: object) -> list[list[str]]:
        return [[] for _ in prompts]

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[TokenScores]:
        return [TokenScores((self.likely[text],), (0.0,), (1.0,)) for _, text in pairs]


def test_a_tie_is_right_and_what_has_no_likelihood_is_left_out() -> None:
    probe = Probe("p", "direct", "q", ("true",), "test", alternates=("other", "third"))
    assert choose(Scripted(true=-1.0, other=-1.0, third=-2.0), [probe])[0]["right"]
    assert not choose(Scripted(true=-1.5, other=-1.0, third=-2.0), [probe])[0]["right"]
    assert choose(Scripted(true=-1.0, other=math.nan, third=-2.0), [probe]) == []


def test_the_model_chooses_what_it_was_taught(tiny_model: LoadedModel) -> None:
    def answer(capital: str) -> str:
        return f"The capital of France is {capital}."

    alternates = (answer("Rome"), answer("Madrid"), answer("Rome"))
    probes = [
        Probe("true", "direct", question("France"), (answer("Paris"),), "test", "france", alternates=alternates),
        Probe("false", "direct", question("France"), (answer("Oslo"),), "test", alternates=(answer("Paris"),)),
        Probe("none", "direct", question("France"), (answer("Paris"),), "test"),
    ]
    true, false = choose(tiny_model, probes)
    assert true["right"] and true["fact"] == "france" and len(true["scores"]) == 3
    assert not false["right"] and false["fact"] == "false"
    (scored,) = tiny_model.score([(question("France"), answer("Paris"))])
    assert true["scores"][0] == pytest.approx(scored.mean_log_prob, abs=1e-4)
    assert false["scores"][1] == pytest.approx(true["scores"][0], abs=1e-4)
