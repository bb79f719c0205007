"""Names of well-known things by type, what else one can ask about them, and synonyms of relations.

The lists ship with the package (``lune/data/entities.json`` and ``synonyms.json``) and were written
for it. They let a forget request of one prompt and one answer grow its own neighbours: other
subjects of the same type, best known first, and other relations of the same subject.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

INVENTED_PERSON = "person_invented"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Found by entity_type, not in running text, where they nearly always mean something else.
_EVERYDAY_WORDS = _words("adobe bat bear canon darts duck lead polish polo running seal squash")
# A single place name beside another capitalised word is part of a longer name: Paris Hilton, South Georgia.
_PLACES = frozenset({"country", "city", "us_state", "planet_or_body"})
_FUNCTION_WORDS = _words(
    "a an and are as at by did do does for from give how i in is name of on or tell the to was were what when "
    "where which who whose why with"
)
_AFTER_LANGUAGES = _FUNCTION_WORDS | _words("language mainly speakers spoken taught used widely written")
_NAME_PARTICLES = _words("al bin da de del den der di dos du el ibn la las le los ten ter van von y zu")
_NOT_IN_PERSON_NAMES = _words(
    "academy airlines airport army association avenue bank bay big bowl bridge castle cathedral church city club "
    "college committee company corporation council county court day days department desert empire festival "
    "foundation game games gate golden grand great group harbour high hospital hotel inc institute island islands "
    "kingdom lake league library llc ltd mount mountain mountains movement museum national night north ocean of "
    "olympic olympics orchestra organisation organization palace park party peninsula planet plc press prime prize "
    "republic revolution river road school sea society south square star state states station street team temple "
    "the theatre theory tour tower treaty union united university valley war wars west world"
)
_DONE_TO_THINGS = "wrote|painted|composed|directed|invented|built|(?:author|painter|composer|director|inventor) of"
_SORTS = "(?:which|what) (?:planet|star|country|city|state|river|mountain|animal|film|book|song|company) is"
_PERSON_NAME_LENGTHS = range(2, 5)
_NAME_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*\.?|(?:[^\W\d_]\.){1,3}")


@dataclass(frozen=True)
class _Kind:
    members: tuple[str, ...]
    other_relations: tuple[str, ...]
    also: tuple[str, ...]
    article: frozenset[str]


def _fold(text: str) -> str:
    """Return ``text`` casefolded and unaccented, character by character, so that positions stay the same."""
    return "".join(_fold_char(char) for char in text)


@lru_cache(maxsize=4096)
def _fold_char(char: str) -> str:
    if char == "’":
        return "'"
    base = unicodedata.normalize("NFD", char)[0].casefold()
    return base if len(base) == 1 else char


def _read(name: str) -> Any:
    return json.loads(files("lune").joinpath("data", name).read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _kinds() -> dict[str, _Kind]:
    return {
        name: _Kind(
            members=tuple(entry["members"]),
            other_relations=tuple(entry["other_relations"]),
            also=tuple(entry.get("also", ())),
            article=frozenset(entry.get("article", ())),
        )
        for name, entry in _read("entities.json").items()
    }


@lru_cache(maxsize=1)
def _index() -> dict[str, tuple[tuple[str, str], ...]]:
    """Return each folded name with its (spelling, kind) pairs, in the order of the file."""
    index: dict[str, list[tuple[str, str]]] = {}
    for name, kind in _kinds().items():
        for spelling in (*kind.members, *kind.also):
            index.setdefault(_fold(spelling), []).append((spelling, name))
    return {key: tuple(pairs) for key, pairs in index.items()}


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    names = sorted(_index(), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)")


def _without_article(name: str) -> str:
    return name[4:].lstrip() if _fold(name).startswith("the ") else name


def _lookup(spelling: str) -> str | None:
    """Return the type of a name; where two things share it (mercury, Mercury), the exact spelling decides."""
    pairs = _index().get(_fold(spelling), ())
    exact = [kind for known, kind in pairs if known == spelling]
    kinds_of = exact or [kind for _, kind in pairs]
    return kinds_of[0] if kinds_of else None


def _is_person_name(subject: str) -> bool:
    words = subject.split()
    if len(words) not in _PERSON_NAME_LENGTHS or not all(_NAME_WORD.fullmatch(word) for word in words):
        return False
    if any(_fold(word).rstrip(".") in _NOT_IN_PERSON_NAMES for word in words):
        return False
    named = [word for word in words if word not in _NAME_PARTICLES]
    capitalised = all(
        word[0].isupper() and (len(word) == 1 or word.endswith(".") or not word.isupper()) for word in named
    )
    return capitalised and len(named) > 1


def entity_type(subject: str) -> str | None:
    """Return the type of ``subject``, such as ``"country"``, or ``None`` when nothing is known of it.

    Case, accents and a leading "the" do not matter. A name of two to four capitalised words, without
    digits, that looks like a person's and is in no list counts as ``"person_invented"``: a private person.
    """
    kind = listed_type(subject)
    if kind is None and _is_person_name(" ".join(subject.split())):
        return INVENTED_PERSON
    return kind


def listed_type(subject: str) -> str | None:
    """Return the type of a name that stands in a list; ``None`` for all others, whatever they look like."""
    subject = " ".join(subject.split())
    return _lookup(subject) or _lookup(_without_article(subject))


def subject_type(prompt: str, subject: str) -> str | None:
    """Return the type of a prompt's subject; what only looks like a person's name must be used like one.

    A name with an article ("the Red Planet"), or one that was written or painted or is called the sort of thing it is,
    is no person's.
    """
    kind = entity_type(subject)
    if kind is None or listed_type(subject):
        return kind
    name = re.escape(subject)
    thing = rf"\b(?:the|an?|{_DONE_TO_THINGS}) \W?{name}(?!\w)|\b(?:{_SORTS})\b.* {name}(?!\w)"
    return None if re.search(thing, prompt, re.IGNORECASE) else kind


def kinds() -> tuple[str, ...]:
    """Return the names of all types."""
    return tuple(_kinds())


def members(kind: str) -> tuple[str, ...]:
    """Return the names of a type, roughly the best known first; empty for an unknown type."""
    return _kinds()[kind].members if kind in _kinds() else ()


def other_relations(kind: str) -> tuple[str, ...]:
    """Return question templates about a thing of this type, each with one ``{}``; empty for an unknown type."""
    return _kinds()[kind].other_relations if kind in _kinds() else ()


def find_entities(text: str) -> list[tuple[str, str]]:
    """Return the known names in ``text`` and their types, longest first.

    Names are given as ``text`` spells them, so that they can be replaced in it, and without a leading
    "the" that is not part of them. Lower-case spellings of proper names count only in a text without capitals.
    """
    folded = _fold(text)
    all_lower = not any(char.isupper() for char in text[1:])
    found: dict[str, str] = {}
    for match in _pattern().finditer(folded):
        spelling = text[match.start() : match.end()]
        kind = _type_in_text(spelling, all_lower=all_lower)
        if kind is None or (kind in _PLACES and _in_longer_name(text, match.start(), match.end())):
            continue
        if kind == "language" and _before_noun(text[match.end() :]):
            continue
        found.setdefault(spelling, kind)
    return sorted(found.items(), key=lambda pair: -len(pair[0]))


def _type_in_text(spelling: str, *, all_lower: bool) -> str | None:
    """Return the type a name has where it stands in a text, or ``None`` where it is an ordinary word."""
    folded = _fold(spelling)
    if folded in _EVERYDAY_WORDS and spelling[0].islower():
        return None
    pairs = _index()[folded]
    exact = [kind for known, kind in pairs if known == spelling]
    if exact:
        return exact[0]
    # "US" is a country, "us" is not; "apple" and "Turkey" may be spelled either way only where case tells nothing.
    loose = [
        kind
        for known, kind in pairs
        if not known.isupper() and (known.islower() or all_lower or not spelling.islower())
    ]
    return loose[0] if loose else None


def _in_longer_name(text: str, start: int, end: int) -> bool:
    if " " in text[start:end] or not text[start].isupper():
        return False
    before = re.search(r"([^\W\d_]+) $", text[:start])
    after = re.match(r" ([^\W\d_]+)", text[end:])
    words = ([before[1]] if before and before.start() > 0 else []) + ([after[1]] if after else [])
    return any(word[0].isupper() and word.casefold() not in _FUNCTION_WORDS for word in words)


def _before_noun(rest: str) -> bool:
    """Return whether a language's name is an adjective: French fries, the English alphabet."""
    after = re.match(r" ([^\W\d_]+)", rest)
    return after is not None and after[1].casefold() not in _AFTER_LANGUAGES


def ask_about(template: str, name: str) -> str:
    """Return a question template about ``name``, with "the" where the name takes one and the template has none.

    "What is the currency of {}?" becomes "What is the currency of the Netherlands?".
    """
    bare = '"{}"' in template or "the {}" in template or not _takes_article(name)
    return template.format(name if bare else f"the {name}")


@lru_cache(maxsize=1)
def _with_article() -> frozenset[str]:
    return frozenset(_fold(name) for kind in _kinds().values() for name in kind.article)


def _takes_article(name: str) -> bool:
    return _fold(name) in _with_article()


@lru_cache(maxsize=1)
def synonyms() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return words and phrases of relations with what can stand in their place, longest first."""
    entries = _read("synonyms.json").items()
    return tuple(
        sorted(((key, tuple(values)) for key, values in entries), key=lambda entry: (-len(entry[0]), entry[0]))
    )
