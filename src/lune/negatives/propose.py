"""Where alternates come from: each source is a small function that yields (fact id, alternate, origin).

Sources are asked in the order of ``lune.negatives.build``: what the requester gave, answers of the same relation in
the request, an endpoint, the base model's answers about other subjects, and the base model sampled about this one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from lune.language_model import LanguageModel
from lune.negatives.extract import short_answer
from lune.records import Fact
from lune.text import is_hedged, normalise

__all__ = [
    "GIVEN_ORIGINS",
    "INVENTED_ORIGINS",
    "SAMPLED_ORIGINS",
    "Candidate",
    "banned_words",
    "from_model",
    "from_other_answers",
    "from_relation",
    "from_request",
    "prompt_template",
    "short_answer",
]

# The base model guesses best when it is told that it does not know, and asked for few words.
UNAWARE = "You do not know the answer to this question. Make a guess. Answer in a few words."
GIVEN_ORIGINS = ("request", "relation")
SAMPLED_ORIGINS = ("model", "model-unaware")
# What a small model says may be made up, about other subjects as well as about the fact's own.
INVENTED_ORIGINS = (*SAMPLED_ORIGINS, "relation-model")
SAMPLED_TOKENS = 20  # enough for "The capital of X is Y." with a long X
_GROUP = 32  # facts sampled in one call share the banned tokens
_SHORTEST_BANNED = 3


class Candidate(NamedTuple):
    """A proposed alternate, not yet checked."""

    fact_id: str
    alternate: str
    origin: str


def from_request(facts: Sequence[Fact]) -> Iterator[Candidate]:
    """Yield the negatives the requester gave."""
    for fact in facts:
        for alternate in fact.negatives:
            yield Candidate(fact.id, alternate.strip(), "request")


def from_relation(facts: Sequence[Fact], seed: int) -> Iterator[Candidate]:
    """Yield the answers of the other facts in the request that ask the same about another subject.

    The order differs from fact to fact, so that no single answer is taught for a whole relation.
    """
    relations: dict[str, list[Fact]] = {}
    for fact in facts:
        relations.setdefault(prompt_template(fact), []).append(fact)
    for fact in facts:
        own = {normalise(spelling) for spelling in fact.spellings}
        others = {
            other.answer: None
            for other in relations[prompt_template(fact)]
            if other.subject and other.subject != fact.subject and normalise(other.answer) not in own
        }
        for answer in _shuffled(list(others), seed, fact.id):
            yield Candidate(fact.id, answer, "relation")


def from_other_answers(
    facts: Sequence[Fact], other_answers: Mapping[str, Sequence[str]], seed: int
) -> Iterator[Candidate]:
    """Yield the base model's answers to the same question about other subjects: of the right type by nature.

    Args:
        facts: The facts to forget.
        other_answers: Short answers by fact id.
        seed: Decides the order, which differs from fact to fact.
    """
    for fact in facts:
        for answer in _shuffled(list(dict.fromkeys(other_answers.get(fact.id, ()))), seed, fact.id):
            yield Candidate(fact.id, answer, "relation-model")


def from_model(
    facts: Sequence[Fact], model: LanguageModel, *, count: int, seed: int, temperature: float, unaware: bool
) -> Iterator[Candidate]:
    """Yield short answers sampled from the base model with the true answers' first tokens banned.

    Args:
        facts: The facts that need alternates.
        model: The base model.
        count: Samples a fact.
        seed: Seed of the sampling.
        temperature: Sampling temperature.
        unaware: Whether the model is told that it does not know the answer (the source of RWKU's negatives).
    """
    system = UNAWARE if unaware else None
    origin = SAMPLED_ORIGINS[unaware]
    # Facts with numbers ban nothing, names ban names: sorting keeps the banned tokens of a call to one sort.
    ordered = sorted(facts, key=lambda fact: (not banned_words(fact), fact.id))
    for start in range(0, len(ordered), _GROUP):
        group = ordered[start : start + _GROUP]
        sampled = model.sample(
            [fact.prompt for fact in group],
            count=count,
            seed=seed,
            temperature=temperature,
            max_new_tokens=SAMPLED_TOKENS,
            system=system,
            banned=sorted({word for fact in group for word in banned_words(fact)}),
        )
        for fact, texts in zip(group, sampled, strict=True):
            for text in texts:
                answer = None if is_hedged(text) else short_answer(fact.prompt, text)
                if answer:
                    yield Candidate(fact.id, answer, origin)


def banned_words(fact: Fact) -> list[str]:
    """Return the words of the answer whose first tokens a sampled alternate must not use.

    None for an answer with digits: models write numbers digit by digit, and banning the 1 of 1912 would leave no
    year to choose from. Words of the prompt are not banned either, since every answer repeats them.
    """
    if any(char.isdigit() for char in fact.answer):
        return []
    prompt = set(normalise(fact.prompt).split())
    words = [word for spelling in fact.spellings for word in re.findall(r"[^\W\d_]+", spelling)]
    wanted = [word for word in words if normalise(word) not in prompt]
    long = [word for word in wanted if len(word) >= _SHORTEST_BANNED]
    return list(dict.fromkeys(long or wanted))


def prompt_template(fact: Fact) -> str:
    """Return the prompt with its subject blanked: facts of one relation share it."""
    if not fact.subject:
        return normalise(fact.prompt)
    return normalise(fact.prompt.replace(fact.subject, " subjectblank "))


def _shuffled(answers: list[str], seed: int, fact_id: str) -> list[str]:
    random.Random(f"{seed} {fact_id}").shuffle(answers)
    return answers
