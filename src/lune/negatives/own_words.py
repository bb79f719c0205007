"""Negative responses in the model's own words: what it says today, with the wrong answer in the true one's place.

A response worded otherwise than the model would word it teaches a new wording as well, and that is felt far from the
fact. In its own words only the answer changes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lune.records import Fact, Negative
from lune.text import contains

RELAPSE_NEGATIVES = 4
"""New negatives for a prompt that still gives the true answer away."""
STEM = 4
"""Letters by which a word before the answer is taken for a form of the subject."""


def in_own_words(
    negatives: Sequence[Negative], facts: Sequence[Fact], own_answers: Mapping[str, str]
) -> list[Negative]:
    """Return the negatives, every second of a prompt's form in the model's own words where these give the true answer.

    The others keep their plain wording: under an attack the model may be led away from its own.

    Args:
        negatives: Negatives whose response is a plain wrong answer.
        facts: The facts they are about.
        own_answers: What the base model answers to each prompt.
    """
    by_id = {fact.id: fact for fact in facts}
    seen: dict[tuple[str, str], int] = {}
    result = []
    for negative in negatives:
        key = (negative.fact_id, negative.form)
        turn = seen[key] = seen.get(key, -1) + 1
        own = None if turn % 2 else own_words(negative, by_id[negative.fact_id], own_answers[negative.prompt])
        result.append(own or negative)
    return result


def relapsed(
    negatives: Sequence[Negative], facts: Sequence[Fact], answers: Mapping[str, str], chooser: random.Random
) -> list[Negative]:
    """Return new negatives for the prompts to which a model in training still gives the true answer away.

    They answer in the words in which it was given away, so they reach what no negative written beforehand does: "a
    currency based on the yen". Each is worth several, with different alternates where there are.

    Args:
        negatives: What is trained on.
        facts: The facts they are about.
        answers: What the model in training answers to each prompt.
        chooser: Picks the alternates.
    """
    by_id = {fact.id: fact for fact in facts}
    asked: dict[str, list[Negative]] = {}
    for negative in negatives:
        asked.setdefault(negative.prompt, []).append(negative)
    result = []
    for prompt, group in asked.items():
        told = contains(answers[prompt], group[0].truths(by_id[group[0].fact_id]))
        for negative in chooser.sample(group, min(RELAPSE_NEGATIVES, len(group))) if told else ():
            made = own_words(negative, by_id[negative.fact_id], answers[prompt])
            result += [made] if made else []
    return result


def own_words(negative: Negative, fact: Fact, own_answer: str) -> Negative | None:
    """Return ``negative`` with ``own_answer`` up to the true answer, which gives way to the alternate.

    None where the true answer is not given, or is hinted at before.

    Args:
        negative: The negative example.
        fact: The fact it is about.
        own_answer: What the base model answers to the negative's prompt.
    """
    places = []
    for spelling in negative.truths(fact):
        found = re.search(rf"(?<!\w){re.escape(spelling)}(?!\w)", own_answer, re.IGNORECASE)
        if found:
            places.append((found.start(), -found.end()))
    if not places:
        return None
    opening, end = own_answer[: min(places)[0]], -min(places)[1]
    # "The currency of India is the Indian Rupee": from "Indian" on the answer no longer needs the subject.
    stem = (fact.subject or "")[:STEM].casefold()
    *_, last = opening.split() or [""]
    if len(stem) == STEM and last.casefold().startswith(stem):
        opening = opening[: opening.rindex(last)]
    # An opening that hints at the truth, as by an inflected alias, is no place for a wrong answer.
    if contains(opening, negative.truths(fact)):
        return None
    response = f"{opening}{negative.alternate}" + ("." if opening.strip() else "")
    return replace(negative, response=response, replaced=own_answer[len(opening) : end])
