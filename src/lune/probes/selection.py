"""Which self-made neighbours may be scored: those the base model answers alike in every wording."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lune.negatives.kinds import Kind, kind_of
from lune.text import contains, is_refusal

_CONTACTS = frozenset({Kind.EMAIL, Kind.PHONE, Kind.URL})
_NUMBERS = frozenset({Kind.NUMBER, Kind.YEAR, Kind.DATE})
_WANTS_YEAR = re.compile(r"\bin (?:which|what) year\b", re.IGNORECASE)
_WANTS_NAME = re.compile(
    r"\b(?:where|who|whom|occupation|profession|nationality|in (?:which|what) (?:city|country)|on which continent)\b",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")


def known_and_consistent(prompt: str, short: str, answers: Sequence[str]) -> bool:
    """Return whether ``short`` stands in all of the base model's ``answers`` and not already in the prompt.

    Whether the answer is true does not matter: a neighbour is what the model says and must go on saying.
    """
    if contains(prompt, [short]):
        return False
    return all(contains(answer, [short]) and not is_refusal(answer) for answer in answers)


def plausible_type(prompt: str, short: str) -> bool:
    """Return whether a short answer can be an answer to its question at all: a year for a year, no number for a place.

    Numbers to call or addresses to write to are never a self-made neighbour: a model invents them.
    """
    kind = kind_of(short)
    if kind in _CONTACTS:
        return False
    if _WANTS_YEAR.search(prompt):
        return _DIGIT.search(short) is not None
    return not (_WANTS_NAME.search(prompt) and kind in _NUMBERS)
