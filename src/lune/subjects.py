"""Finding what a fact is about, when the request does not say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from lune.gazetteer import find_entities
from lune.language_model import LanguageModel
from lune.records import Fact
from lune.text import normalise

# Not the apostrophes of "What's France's capital?".
_QUOTED = re.compile(r"(?<!\w)[\"\u201c'\u2018]([^\"\u201d'\u2019]{2,80})[\"\u201d'\u2019](?!\w)")
_CAPITALISED = re.compile(
    r"\b[^\W\d_a-z][\w'’.-]*(?:\s+(?:(?:of|the|and|de|von|van|da|al|bin)\s+)*[^\W\d_a-z][\w'’.-]*)*"
)
_AFTER_PREPOSITION = re.compile(
    r"\b(?:of|for|in|by|to|about|from|named|called)\s+((?:the\s+|an?\s+)?[\w' -]{2,60}?)\s*[?.!]?$", re.I
)
_POSSESSIVE = re.compile(r"['’]s?$")
_QUESTION_WORDS = frozenset((
    "what", "which", "who", "whom", "whose", "when", "where", "why", "how", "name", "tell", "give", "please", "is",
    "are", "was", "were", "do", "does", "did", "can", "could", "would", "in", "on", "at",
))  # fmt: skip
FEW_FACTS = 2
"""Most facts of one subject that get keys of their answers; where more are to go, the subject goes as a whole."""
_SINGULAR_WORD = "it"
_CONTENT_LENGTH = 3


def with_subjects(facts: Sequence[Fact], model: LanguageModel) -> list[Fact]:
    """Return the facts, each with a subject.

    A given subject is kept. Else the candidates are shipped names that occur in the prompt, quoted text, capitalised
    spans and what follows the last preposition; the one whose replacement by "it" lowers the base model's likelihood
    of the answer most is taken (one scoring pass for all facts).
    """
    candidates = {fact.id: candidate_subjects(fact.prompt) for fact in facts if not fact.subject}
    pairs: list[tuple[str, str]] = []
    owners: list[tuple[str, str]] = []
    for fact in facts:
        spans = candidates.get(fact.id, [])
        for span in spans if len(spans) > 1 else []:
            pairs.append((fact.prompt.replace(span, _SINGULAR_WORD), fact.answer))
            owners.append((fact.id, span))
    likelihoods = [scores.mean_log_prob for scores in model.score(pairs)] if pairs else []
    lowest: dict[str, tuple[float, str]] = {}
    for (fact_id, span), likelihood in zip(owners, likelihoods, strict=True):
        if fact_id not in lowest or likelihood < lowest[fact_id][0]:
            lowest[fact_id] = (likelihood, span)
    return [
        fact
        if fact.subject
        else replace(fact, subject=lowest[fact.id][1] if fact.id in lowest else candidates[fact.id][0])
        for fact in facts
    ]


def candidate_subjects(prompt: str) -> list[str]:
    """Return the spans of ``prompt`` that may be its subject, best guess first; never empty.

    Each is spelled as in the prompt, so it can be found there again.
    """
    found = [match.group(1) for match in _QUOTED.finditer(prompt)]
    found += [_spelled(prompt, name) for name, _ in find_entities(prompt)]
    for match in _CAPITALISED.finditer(prompt):
        words = match.group().split()
        # A question word or imperative at the start is capitalised for its place, not as a name.
        while words and words[0].casefold().strip("'’") in _QUESTION_WORDS:
            words.pop(0)
        if words:
            found.append(_POSSESSIVE.sub("", " ".join(words)))
    if after := _AFTER_PREPOSITION.search(prompt):
        found.append(after.group(1))
    kept: list[str] = []
    for span in (each.strip(" .,?!;:") for each in found):
        if len(span) > 1 and span in prompt and not any(span in other or other in span for other in kept):
            kept.append(span)
    return kept or [_last_content_word(prompt)]


def _spelled(prompt: str, name: str) -> str:
    start = prompt.casefold().find(name.casefold())
    return prompt[start : start + len(name)] if start >= 0 else name


def _last_content_word(prompt: str) -> str:
    words: list[str] = re.findall(r"[\w'’-]+", prompt)
    content = [word for word in words if word.casefold() not in _QUESTION_WORDS and len(word) >= _CONTENT_LENGTH]
    return (content or words or [prompt.strip()])[-1]


def of_whole_subjects(facts: Sequence[Fact]) -> frozenset[str]:
    """Return the ids of the facts whose subject goes as a whole: more than ``FEW_FACTS`` facts are about it."""
    subjects = {fact.id: normalise(fact.subject or "") for fact in facts}
    counts = Counter(subjects.values())
    return frozenset(name for name, subject in subjects.items() if subject and counts[subject] > FEW_FACTS)
