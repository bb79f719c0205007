"""The shipped set of real facts by relation: reading it, and checking that every fact can be asked.

``lune/data/world.json`` names each relation's source and several wordings, with ``{}`` where the subject stands, and
gives the answer, or the answer and its other spellings, for each subject. A subject written with "the " in front takes
that article in prompts and is known without it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from lune.benchmarks.task import wrong_layout
from lune.errors import RequestError
from lune.records import Split
from lune.text import contains, normalise

FILE_NAME = "world.json"
LEAST_PROMPTS = 5
DEV_TENTHS = 4
"""Of all subjects, how many tenths fall into the dev split."""
ALWAYS_DEV = frozenset({
    "france", "germany", "italy", "spain", "japan", "russia", "china", "india", "brazil", "mexico", "gold", "silver",
    "romeo and juliet", "moby dick", "mona lisa", "starry night", "invention of telephone",
})  # fmt: skip
"""Subjects (normalised) on which recipes were tried before the split was made: reporting on them would flatter."""
PEOPLE = "inhabitants"
"""The relation of a country's people: "an Italian dish" tells the country as well as its name does."""
_ARTICLE = "the "


@dataclass(frozen=True)
class WorldFact:
    """One fact of the set.

    Attributes:
        relation: Name of its relation, such as ``chemical symbol``.
        subject: What it is about, as it is spelled in every prompt, without an article before it.
        prompts: The relation's wordings for this subject; the first is the direct question.
        answer: The true answer.
        aliases: Other spellings of the answer.
    """

    relation: str
    subject: str
    prompts: tuple[str, ...]
    answer: str
    aliases: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The relation's and the subject's name, fit for a file name."""
        return f"{slug(self.relation)}.{slug(self.subject)}"

    @property
    def spellings(self) -> tuple[str, ...]:
        """The answer and its aliases."""
        return (self.answer, *self.aliases)

    @property
    def split(self) -> Split:
        """The split of its subject."""
        return split_of(self.subject)


def slug(text: str) -> str:
    """Return ``text`` normalised, with hyphens for spaces."""
    return normalise(text).replace(" ", "-")


def split_of(subject: str) -> Split:
    """Return the split of a subject: dev for 4 in 10 and for those of ``ALWAYS_DEV``, else test.

    The first 8 bytes of the SHA-256 of "world " and the normalised name decide, modulo 10. A subject is wholly in one
    split, with all its relations, and stays there whatever else the file holds.
    """
    name = normalise(subject)
    digest = hashlib.sha256(f"world {name}".encode()).digest()
    return "dev" if name in ALWAYS_DEV or int.from_bytes(digest[:8], "big") % 10 < DEV_TENTHS else "test"


def read_world(folder: Path | None = None) -> list[WorldFact]:
    """Return the facts, in the order of the file.

    Args:
        folder: A folder with a ``world.json`` of the same layout; the shipped facts when None.

    Raises:
        RequestError: When the file is missing or anything in it is wrong; ``problems`` names each.
    """
    if folder is None:
        # Its facts are checked by the tests; doing it again at every start takes seconds.
        return _facts(_shipped())
    path = folder / FILE_NAME
    hint = f"give a folder with a {FILE_NAME} like the shipped one; docs/world.md describes it"
    try:
        relations = _parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        wanted = f"a {FILE_NAME} like the shipped one, which docs/world.md describes"
        get = "leave --data out for the shipped facts"
        raise wrong_layout("world", folder, [f"there is no {FILE_NAME}"], wanted=wanted, get=get) from error
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise RequestError(f"{path} cannot be read: {error}.", hint=hint) from error
    problems = list(shape_problems(relations))
    if not problems:
        problems = [*relation_problems(relations), *fact_problems(_facts(relations))]
    if problems:
        raise RequestError(f"{path} has {len(problems)} problems.", hint=hint, problems=problems)
    return _facts(relations)


def others_of_relation(prompt: str, subject: str) -> tuple[str, ...]:
    """Return the other subjects of the relation that ``prompt`` asks for, in the order of the shipped file.

    Empty when no wording of the shipped relations, put for ``subject``, reads like ``prompt``.
    """
    wanted, itself = normalise(prompt), normalise(subject)
    for relation in _shipped().values():
        if any(normalise(template.replace("{}", subject)) == wanted for template in relation["prompts"]):
            names = (name.removeprefix(_ARTICLE) for name in relation["facts"])
            return tuple(name for name in names if normalise(name) != itself)
    return ()


def sources(folder: Path | None = None) -> dict[str, str]:
    """Return where the facts of each relation can be looked up, by relation."""
    relations = _shipped() if folder is None else _parse((folder / FILE_NAME).read_text(encoding="utf-8"))
    return {name: relation["source"] for name, relation in relations.items()}


def shape_problems(relations: Any) -> Iterator[str]:
    """Yield what is not of the layout: a mapping of relations, each with source, prompts and facts."""
    if not isinstance(relations, dict) or not relations:
        yield 'must hold {RELATION: {"source": ..., "prompts": [...], "facts": {SUBJECT: ANSWER}}}'
        return
    for name, relation in relations.items():
        if not isinstance(relation, dict) or set(relation) != {"source", "prompts", "facts"}:
            yield f"{name}: must be an object with source, prompts and facts, and nothing else"
            continue
        if not _is_text(relation["source"]):
            yield f"{name}: source must be a text"
        if not isinstance(relation["prompts"], list) or not all(map(_is_text, relation["prompts"])):
            yield f"{name}: prompts must be a list of texts"
        if not isinstance(relation["facts"], dict) or not relation["facts"]:
            yield f"{name}: facts must be an object of subjects and answers"
            continue
        for subject, answer in relation["facts"].items():
            spellings = answer if isinstance(answer, list) and answer else [answer]
            if not subject.strip() or not all(map(_is_text, spellings)):
                yield f"{name}, {subject}: the answer must be a text, or a list of texts with the answer first"


def relation_problems(relations: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the wordings of a relation."""
    for name, relation in relations.items():
        prompts = relation["prompts"]
        if len(prompts) < LEAST_PROMPTS:
            yield f"{name}: has {len(prompts)} prompts, at least {LEAST_PROMPTS} are needed"
        if len({normalise(prompt) for prompt in prompts}) < len(prompts):
            yield f"{name}: two prompts say the same"
        for prompt in prompts:
            if prompt.count("{") != 1 or prompt.count("{}") != 1 or prompt.startswith("{}"):
                yield f"{name}: '{prompt}' must have {{}} once, and not at its beginning"


def fact_problems(facts: Sequence[WorldFact]) -> Iterator[str]:
    """Yield what is wrong with single facts and between them.

    No prompt may give an answer away or ask two things, no spelling may be idle, no subject may be spelled two ways.
    """
    spelled: dict[str, str] = {}
    asked: dict[str, WorldFact] = {}
    for fact in facts:
        where = f"{fact.relation}, {fact.subject}"
        yield from (f"{where}: {text}" for text in _spelling_problems(fact))
        for prompt in fact.prompts:
            if contains(prompt, fact.spellings):
                yield f"{where}: the prompt '{prompt}' contains the answer"
            if len(re.findall(rf"(?<!\w){re.escape(fact.subject)}(?!\w)", prompt, re.IGNORECASE)) != 1:
                yield f"{where}: the prompt '{prompt}' does not name the subject exactly once"
            if (other := asked.setdefault(normalise(prompt), fact)) is not fact:
                yield f"{where}: the prompt '{prompt}' is also asked for {other.relation}, {other.subject}"
        if (first := spelled.setdefault(normalise(fact.subject), fact.subject)) != fact.subject:
            yield f"{where}: the subject is spelled '{first}' elsewhere"
    ids = [fact.id for fact in facts]
    yield from (f"{name}: two facts have this id" for name in sorted({name for name in ids if ids.count(name) > 1}))


def _spelling_problems(fact: WorldFact) -> Iterator[str]:
    for place, spelling in enumerate(fact.spellings):
        if spelling != spelling.strip() or not normalise(spelling):
            yield f"'{spelling}' cannot be recognised in an answer"
        others = [
            other for other in fact.spellings[:place] + fact.spellings[place + 1 :] if contains(spelling, [other])
        ]
        if place and others:
            yield f"the alias '{spelling}' is idle, since it contains '{others[0]}'"


@cache
def _shipped() -> dict[str, Any]:
    relations: dict[str, Any] = _parse(files("lune").joinpath("data", FILE_NAME).read_text(encoding="utf-8"))
    return relations


def _facts(relations: dict[str, Any]) -> list[WorldFact]:
    people = {name: _spellings(found) for name, found in relations.get(PEOPLE, {"facts": {}})["facts"].items()}
    return [
        _fact(name, subject, _spellings(answer), relation["prompts"], people)
        for name, relation in relations.items()
        for subject, answer in relation["facts"].items()
    ]


def _spellings(answer: str | list[str]) -> list[str]:
    return [answer] if isinstance(answer, str) else answer


def _fact(
    relation: str, shown: str, spellings: Sequence[str], templates: Iterable[str], people: dict[str, list[str]]
) -> WorldFact:
    # str.format would trip over braces in names; there are none, but a replacement cannot trip at all.
    prompts = tuple(template.replace("{}", shown) for template in templates)
    aliases = list(spellings[1:])
    for name in people.get(spellings[0], ()):
        told = contains(name, [spellings[0], *aliases]) or any(contains(prompt, [name]) for prompt in prompts)
        aliases += [] if told else [name]
    return WorldFact(relation, shown.removeprefix(_ARTICLE), prompts, spellings[0], tuple(aliases))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _parse(text: str) -> Any:
    """Return what a file's text holds.

    Raises:
        ValueError: When it is not JSON or names something twice.
    """
    return json.loads(text, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The parser would keep the last of two facts about one subject and drop the contradiction in silence.
    names = [name for name, _ in pairs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"these names come twice in one object: {', '.join(repeated)}")
    return dict(pairs)
