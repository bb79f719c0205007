"""How much of a text a model still writes by itself: exact memorisation and extraction strength.

Both look at which tokens y_1 ... y_n of a response are the model's likeliest, given the prompt and the *true* tokens
before each (teacher forcing), so one forward pass serves all texts:

    exact memorisation   (1 / n) sum_t [argmax p(. | y_<t) = y_t]     (Tirumala et al., arXiv 2205.10770)
    extraction strength  1 - k / n, with k the shortest prefix of the response after which every token is right
                         (Carlini et al., arXiv 2012.07805, as a strength in Wang et al., arXiv 2406.09179 and
                         in open-unlearning)

The end of turn is not counted, as in open-unlearning. One thing differs from it: where even the last token is wrong,
k = n and the strength is 0, as published; its loop ends at k = n - 1 and gives 1 / n.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from lune.metrics.intervals import mean_interval
from lune.models import LoadedModel


class Memorisation(TypedDict):
    """Means over the texts with a token to score, and the two scores of each text, None where it has none."""

    exact_memorisation: float | None
    extraction_strength: float | None
    exact_memorisation_interval: list[float] | None
    extraction_strength_interval: list[float] | None
    exact_memorisation_by_text: list[float | None]
    extraction_strength_by_text: list[float | None]


def exact_memorisation(correct: Sequence[bool]) -> float | None:
    """Return the share of right tokens; None without any token."""
    return sum(correct) / len(correct) if correct else None


def extraction_strength(correct: Sequence[bool]) -> float | None:
    """Return the share of the text that follows its last wrong token; None without any token."""
    if not correct:
        return None
    wrong = [place for place, right in enumerate(correct) if not right]
    needed = wrong[-1] + 1 if wrong else 0
    return 1 - needed / len(correct)


def correct_tokens(loaded: LoadedModel, pairs: Sequence[tuple[str, str]]) -> list[tuple[bool, ...]]:
    """Return for each (prompt, response) whether each token of the response is the model's likeliest.

    The tokens of the end of turn are cut off, where they are tokens of their own.
    """
    end = tuple(loaded.tokenizer(loaded.chat.turn_end, add_special_tokens=False)["input_ids"])
    found = []
    for (prompt, response), scores in zip(pairs, loaded.score(pairs), strict=True):
        ids = loaded.chat.encode(prompt, response).response
        found.append(scores.correct[: -len(end)] if end and ids[-len(end) :] == end else scores.correct)
    return found


def memorisation(loaded: LoadedModel, pairs: Sequence[tuple[str, str]], *, seed: int = 0) -> Memorisation:
    """Return both scores of each text and their means.

    Args:
        loaded: The model.
        pairs: (prompt, response) of each text.
        seed: Seed of the intervals, by bootstrap over texts.
    """
    correct = correct_tokens(loaded, pairs)
    exact = [exact_memorisation(each) for each in correct]
    strength = [extraction_strength(each) for each in correct]
    exact_mean, exact_bounds = _mean(exact, seed)
    strength_mean, strength_bounds = _mean(strength, seed)
    return {
        "exact_memorisation": exact_mean,
        "extraction_strength": strength_mean,
        "exact_memorisation_interval": exact_bounds,
        "extraction_strength_interval": strength_bounds,
        "exact_memorisation_by_text": exact,
        "extraction_strength_by_text": strength,
    }


def _mean(values: Sequence[float | None], seed: int) -> tuple[float | None, list[float] | None]:
    interval = mean_interval(((place, value) for place, value in enumerate(values) if value is not None), seed=seed)
    bounds = [interval.low, interval.high] if interval.low is not None and interval.high is not None else None
    return interval.value, bounds
