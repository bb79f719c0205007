"""Multiple choice by likelihood: does the model still prefer the true answer to others, or shun it?

The model is shown no options. Each option is scored as an answer to the prompt, by its mean log-probability a token,
so that long options are not at a disadvantage (as in TOFU; "acc_norm" of other harnesses divides by bytes), and the
likeliest one is the model's choice. The true answer stands among alternates of the same kind.

Right more often than chance, the model still knows. Right *less* often than chance, it knows as well: to shun the truth
it has to tell it from the others (arXiv 2505.02884). Both are tested exactly: with c of n choices right and chance
1 / (number of options) in each, p_below = P(X <= c) and p_above = P(X >= c), X being the number right by chance; with
the same number of options everywhere X is binomial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from lune.language_model import LanguageModel
from lune.metrics.intervals import mean_interval
from lune.records import Probe

SIGNIFICANCE = 0.05


class Choice(TypedDict):
    """One question: the likelihood of each option, the true one first, and whether the model chose it."""

    probe: str
    fact: str
    scores: list[float]
    right: bool


class ChoiceScores(TypedDict):
    """Accuracy over questions, with its interval by bootstrap over facts, and the two tests against chance."""

    accuracy: float | None
    accuracy_interval: list[float] | None
    chance: float | None
    p_below: float | None
    p_above: float | None
    below_chance: bool
    questions: int


def choose(model: LanguageModel, probes: Sequence[Probe]) -> list[Choice]:
    """Return the model's choice between the true answer and the alternates of each probe that has any.

    A tie counts as right, as everywhere here where a rule leaves a choice. A question with an option whose likelihood
    is not a number is left out.

    Args:
        model: The model.
        probes: Prompts with their true answer, ``expected[0]``, and ``alternates``.
    """
    asked = [(probe, _options(probe)) for probe in probes]
    asked = [(probe, options) for probe, options in asked if len(options) > 1]
    scored = iter(model.score([(probe.prompt, option) for probe, options in asked for option in options]))
    choices: list[Choice] = []
    for probe, options in asked:
        scores = [next(scored).mean_log_prob for _ in options]
        if not any(math.isnan(score) for score in scores):
            fact = probe.fact_id or probe.id
            choices.append({"probe": probe.id, "fact": fact, "scores": scores, "right": scores[0] >= max(scores)})
    return choices


def choice_scores(choices: Sequence[Choice], *, seed: int = 0) -> ChoiceScores:
    """Return accuracy, chance, and how likely chance alone is right so seldom or so often.

    Args:
        choices: What `choose` returned.
        seed: Seed of the bootstrap.
    """
    interval = mean_interval(((each["fact"], float(each["right"])) for each in choices), seed=seed)
    bounds = [interval.low, interval.high] if interval.low is not None and interval.high is not None else None
    chances = [1 / len(each["scores"]) for each in choices]
    below, above = chance_tails(sum(each["right"] for each in choices), chances) if choices else (None, None)
    return {
        "accuracy": interval.value,
        "accuracy_interval": bounds,
        "chance": sum(chances) / len(chances) if chances else None,
        "p_below": below,
        "p_above": above,
        "below_chance": below is not None and below < SIGNIFICANCE,
        "questions": len(choices),
    }


def chance_tails(right: int, chances: Sequence[float]) -> tuple[float, float]:
    """Return P(X <= right) and P(X >= right), X being how many independent guesses of these chances hit."""
    law = np.ones(1)
    for chance in chances:
        law = np.convolve(law, [1 - chance, chance])
    return min(1.0, float(law[: right + 1].sum())), min(1.0, float(law[right:].sum()))


def _options(probe: Probe) -> list[str]:
    """Return the true answer and the alternates, each once."""
    return list(dict.fromkeys((probe.expected[0], *probe.alternates)))
