"""Which self-made neighbours may be scored: those the base model answers alike in every wording."""

from __future__ import annotations

from collections.abc import Sequence

from lune.text import contains, is_refusal


def known_and_consistent(prompt: str, short: str, answers: Sequence[str]) -> bool:
    """Return whether ``short`` stands in all of the base model's ``answers`` and not already in the prompt.

    Whether the answer is true does not matter: a neighbour is what the model says and must go on saying.
    """
    if contains(prompt, [short]):
        return False
    return all(contains(answer, [short]) and not is_refusal(answer) for answer in answers)
