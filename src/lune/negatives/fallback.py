"""Alternates made by the answer's kind alone, when every other source gave too few.

Names come from the gazetteer, common answer sets (currencies, symbols, colours ...) from a short table; numbers, dates,
addresses and codes are changed while their shape stays.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence

from lune import gazetteer
from lune.negatives.extract import MONTHS, NUMBER_WORDS
from lune.negatives.kinds import Kind, answer_set, kind_of, known_type
from lune.negatives.propose import Candidate
from lune.records import Fact
from lune.text import contains

ORIGIN = "kind"
_TRIES = 4  # a shape may give the same value again, or one that another check drops

# What stands in for a place or person that is not listed.
_BY_KIND = {Kind.PLACE: "city", Kind.PERSON: gazetteer.INVENTED_PERSON}
_GIVEN_NAMES = ("anna", "marco", "lena", "oscar", "ruth", "felix", "nora", "paul", "ines", "hugo")
_FAMILY_NAMES = ("keller", "moreau", "lindqvist", "barnes", "okafor", "santos", "novak", "ferrari", "walsh", "ito")


def from_kind(facts: Sequence[Fact], *, count: int, seed: int) -> Iterator[Candidate]:
    """Yield alternates of the answer's kind.

    Args:
        facts: Facts that lack alternates.
        count: Alternates proposed for a fact, at most; some kinds have fewer.
        seed: Decides which.
    """
    for fact in facts:
        rng = random.Random(f"{seed} {fact.id} kind")
        found: dict[str, None] = {}
        for value in _values(fact, rng, count * _TRIES):
            if not contains(value, fact.spellings):
                found[value] = None
            if len(found) == count:
                break
        for value in found:
            yield Candidate(fact.id, value, ORIGIN)


def _values(fact: Fact, rng: random.Random, tries: int) -> Iterator[str]:
    """Yield values of the answer's kind, in no order that depends on the answer."""
    members = _members(fact)
    if members:
        yield from rng.sample(members, len(members))
        return
    vary = _VARIATIONS.get(kind_of(fact.answer, fact.prompt))
    if vary is not None:
        for _ in range(tries):
            yield vary(fact.answer.strip(), rng)


def _members(fact: Fact) -> list[str]:
    """Return the set the answer is a member of: of the table, of its gazetteer type, invented persons for a person."""
    for spelling in fact.spellings:
        if answer_set(spelling):
            return list(answer_set(spelling))
    for spelling in fact.spellings:
        known = known_type(spelling)
        if known:
            return list(gazetteer.members(known))
    return list(gazetteer.members(_BY_KIND.get(kind_of(fact.answer, fact.prompt), "")))


def _other_year(answer: str, rng: random.Random) -> str:
    """Move a year by up to 40 years, keeping what stands around it."""
    return re.sub(
        r"\d+", lambda match: str(max(1, int(match[0]) + rng.choice([-1, 1]) * rng.randint(2, 40))), answer, count=1
    )


def _other_number(answer: str, rng: random.Random) -> str:
    """Replace each number by one of the same length, and a number word by another; units stay."""
    if not any(char.isdigit() for char in answer):
        words = answer.split()
        small = sorted(NUMBER_WORDS - {"hundred", "thousand", "million", "billion", "dozen", "zero", "one"})
        return " ".join(rng.choice(small) if word.lower() in NUMBER_WORDS else word for word in words)
    if answer.isdigit() and len(answer) == 1:
        return str(rng.randint(0, 12))
    return _other_code(answer, rng)


def _other_date(answer: str, rng: random.Random) -> str:
    """Change the day, the month and the year of a date, keeping how it is written."""
    month = rng.choice(MONTHS.split("|"))
    text = re.sub(MONTHS, month, answer)
    text = re.sub(r"\d{4}", lambda match: str(int(match[0]) + rng.choice([-1, 1]) * rng.randint(1, 20)), text, count=1)

    def small(match: re.Match[str]) -> str:
        return str(rng.randint(1, 12)).zfill(len(match[0])) if len(match[0]) > 1 else str(rng.randint(1, 9))

    return re.sub(r"(?<!\d)\d{1,2}(?!\d)(?!st|nd|rd|th)", small, text)


def _other_code(answer: str, rng: random.Random) -> str:
    """Replace every digit by a digit and, in codes, every letter by a letter of the same case."""
    first = next((place for place, char in enumerate(answer) if char.isdigit()), -1)
    coded = kind_of(answer, "symbol") == Kind.SYMBOL

    def other(place: int, char: str) -> str:
        if char.isdigit():
            return str(rng.randint(1 if place == first and char != "0" else 0, 9))
        if coded and char.isalpha() and char.isascii():
            letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
            return letter.upper() if char.isupper() else letter
        return char

    return "".join(other(place, char) for place, char in enumerate(answer))


def _other_email(answer: str, rng: random.Random) -> str:
    """Keep the domain and put another person before it."""
    domain = answer.rpartition("@")[2]
    joint = "." if "." in answer.partition("@")[0] else ""
    return f"{rng.choice(_GIVEN_NAMES)}{joint}{rng.choice(_FAMILY_NAMES)}@{domain}"


def _other_url(answer: str, rng: random.Random) -> str:
    """Put another name before the top-level domain."""
    name = rng.choice(_FAMILY_NAMES) + rng.choice(["online", "group", "works", "press", "house", ""])
    start = re.match(r"(?:https?://)?(?:www\.)?", answer, re.IGNORECASE)
    lead = start[0] if start else ""
    host = answer[len(lead) :].partition("/")[0]
    return f"{lead}{name}.{host.rpartition('.')[2]}"


_VARIATIONS: dict[Kind, Callable[[str, random.Random], str]] = {
    Kind.YEAR: _other_year,
    Kind.NUMBER: _other_number,
    Kind.DATE: _other_date,
    Kind.PHONE: _other_code,
    Kind.SYMBOL: _other_code,
    Kind.EMAIL: _other_email,
    Kind.URL: _other_url,
}
