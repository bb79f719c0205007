"""How answers are read: normalising, containment, refusals, degenerate answers. No torch here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_REFUSAL = re.compile(
    r"\b(i (do not|don t|dont|am not able|m not able|cannot|can t|am unable|m unable|am sorry|m sorry|have no (information|knowledge))"
    r"|i (am|m) not (sure|certain|aware|familiar)|no information|not (able|allowed) to (answer|provide|share)|unable to (answer|provide|share)"
    r"|as ai|do not have (access|information)|don t have (access|information))\b"
)
_HEDGE = re.compile(
    r"\b(i think|i believe|not sure|not certain|might be|may be|could be|possibly|perhaps|probably|maybe|it depends|unknown|unclear"
    r"|or maybe|i guess|not known)\b"
)


def normalise(text: str) -> str:
    """Return ``text`` casefolded, unaccented, without punctuation and articles, single-spaced.

    This is the form in which an answer *contains* an expected answer (docs/metrics.md).
    """
    text = unicodedata.normalize("NFKD", text.casefold())
    text = "".join(char for char in text if not unicodedata.combining(char))
    text = re.sub(r"[^\w\s]|_", " ", text)
    return " ".join(_ARTICLES.sub(" ", text).split())


def contains(answer: str, expected: Iterable[str]) -> bool:
    """Return whether ``answer`` contains any of ``expected`` at word boundaries, both normalised."""
    padded = f" {normalise(answer)} "
    wanted = (normalise(spelling) for spelling in expected)
    return any(spelling and f" {spelling} " in padded for spelling in wanted)


def is_refusal(answer: str) -> bool:
    """Return whether ``answer`` declines to answer ("I do not know", "I cannot ...")."""
    return bool(_REFUSAL.search(normalise(answer)))


def is_hedged(answer: str) -> bool:
    """Return whether ``answer`` is unsure ("it might be", "I think"); LUNE App. B.3 drops these."""
    return bool(_HEDGE.search(normalise(answer))) or is_refusal(answer)


def is_degenerate(answer: str) -> bool:
    """Return whether ``answer`` is empty or stuck in repetition.

    Repetition: at least eight words of which fewer than 40 % are distinct, or one word three times
    in a row.
    """
    words = normalise(answer).split()
    if not words:
        return True
    if any(words[i] == words[i + 1] == words[i + 2] for i in range(len(words) - 2)):
        return True
    return len(words) >= 8 and len(set(words)) / len(words) < 0.4
