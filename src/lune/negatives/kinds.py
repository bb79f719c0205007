"""What sort of thing an answer is: a date, a number, a person, a place ...

Shape decides where shape is enough; the gazetteer and the question word tell persons from places. An alternate has
to be of the answer's kind (DualCF's validity rules; LUNE App. B.3 asks for plausible answers).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

from lune.gazetteer import INVENTED_PERSON, entity_type, members
from lune.grammar import PERSON_NOUNS, PLACE_NOUNS
from lune.negatives.extract import DATE_PATTERN, MONTHS, NUMBER_WORDS, YEAR_PATTERN
from lune.text import contains, normalise

_SYMBOL_LENGTH = 3  # "Au", "Fe", "H2O": up to this many characters a capitalised word may be a symbol
_NAME_PARTICLES = frozenset(
    (
        "of",
        "the",
        "and",
        "de",
        "la",
        "le",
        "les",
        "da",
        "di",
        "du",
        "del",
        "van",
        "der",
        "von",
        "den",
        "bin",
        "al",
        "au",
        "do",
        "dos",
        "sur",
    )
)
_TITLES = frozenset(
    ("mr", "mrs", "ms", "dr", "sir", "lady", "lord", "king", "queen", "pope", "prince", "princess", "saint")
)
_PLACE_TYPES = frozenset(("country", "city", "us_state", "river", "mountain"))
_PERSON = "person"  # writers, painters and so on: one type where alternates are concerned

# Closed sets of answers that are no entities of the gazetteer.
ANSWER_SETS: tuple[tuple[str, ...], ...] = tuple(
    tuple(words.split(","))
    for words in (
        "yen,euro,dollar,pound,rupee,peso,franc,krona,won,yuan,real,ruble,rand,lira,baht,dinar,forint,zloty,shekel,rial",
        "Au,Ag,Fe,Cu,Pb,Sn,Hg,Na,Zn,Ni,Pt,Al,Mg,Ca,Cl,Br,Co,Ti,Cr,Mn,Si,He,Ne,Ar,Li,Be,Kr,Xe,Ba,Cs,Rb,Sr,Pd,Cd,Bi,Ra,Rn,Se,As,Sb,Te,Mo,Ga,Ge,Zr,W,V,K,H,O,N,C,F,S,P,B,I,U",
        "red,blue,green,yellow,white,black,brown,grey,orange,purple,pink",
        "Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday",
        MONTHS.replace("|", ","),
        "Africa,Asia,Europe,North America,South America,Oceania,Antarctica",
        "Pacific Ocean,Atlantic Ocean,Indian Ocean,Arctic Ocean,Southern Ocean",
        "oxygen,nitrogen,hydrogen,helium,carbon dioxide,methane,argon,neon,chlorine",
        "physicist,teacher,lawyer,painter,engineer,doctor,farmer,composer,carpenter,journalist,architect,biologist",
        "Buddhism,Christianity,Islam,Hinduism,Judaism,Sikhism,Taoism,Shinto",
        "north,south,east,west",
        "heart,liver,kidney,lung,stomach,brain,skin,spleen,pancreas",
    )
)


_MOST_WORDS_OF_LISTED = 2


class Kind(StrEnum):
    """The sorts of answers that are told apart."""

    YES_NO = "yes or no"
    EMAIL = "mail address"
    URL = "web address"
    PHONE = "phone number"
    DATE = "date"
    YEAR = "year"
    NUMBER = "number"
    SYMBOL = "symbol or code"
    PERSON = "person"
    PLACE = "place"
    NAME = "name"
    OTHER = "other"


_NAMES = frozenset({Kind.PERSON, Kind.PLACE, Kind.NAME})
_SHAPED = frozenset(Kind) - _NAMES - {Kind.OTHER, Kind.SYMBOL}

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(
    r"(?:https?://\S+|www\.\S+|[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|io|co|uk|de|fr|eu)(?:/\S*)?)", re.I
)
_PHONE = re.compile(r"\+?\(?\d[\d\s().-]{5,}\d")
_PHONE_DIGITS = 7
_AMOUNT = re.compile(r"[-+~]?[$€£¥]?\s?\d[\d,.]*(?:\s?(?:%|°\s?[CFK]?|[^\W\d_]+\.?)){0,4}")
_CODE = re.compile(r"(?=.*\d)(?=.*[^\W\d_])[\w/.-]+")
_INITIALS = re.compile(r"(?:[^\W\d_]\.\s?)+[^\W\d_]?\.?")
_ROMAN = re.compile(r"[IVXLCDM]+")


def kind_of(text: str, prompt: str = "") -> Kind:
    """Return the kind of a short answer.

    Args:
        text: The answer.
        prompt: Its question; "who" and "where" decide for names that the gazetteer does not know.
    """
    text = text.strip().rstrip(".")
    shaped = _shaped(text)
    if shaped is not None:
        return shaped
    if not _is_name(text):
        return Kind.SYMBOL if _is_symbol(text) and "symbol" in prompt.casefold() else Kind.OTHER
    known = _group(known_type(text))
    if known in _PLACE_TYPES:
        return Kind.PLACE
    if known == _PERSON or normalise(text).split()[0] in _TITLES:
        return Kind.PERSON
    if _is_symbol(text) and (text.isupper() or "symbol" in prompt.casefold()):
        return Kind.SYMBOL
    return _asked_kind(prompt)


def known_type(text: str) -> str | None:
    """Return the gazetteer's type of an entity, or None when it does not list it."""
    found = entity_type(text)
    return None if found == INVENTED_PERSON else found


@lru_cache(maxsize=4096)
def answer_set(text: str) -> tuple[str, ...]:
    """Return the closed set of answers that ``text`` is a member of; empty when there is none."""
    name = normalise(text)
    return next((answers for answers in ANSWER_SETS if name in map(normalise, answers)), ())


def is_listed_like(answer: str, alternate: str) -> bool:
    """Return whether the gazetteer or a closed set lists ``alternate`` among things like the answer."""
    answers = answer_set(answer)
    if answers:  # "US dollar" is a dollar, "Pan-Eastern Tolled Dollar" an invention
        return contains(alternate, answers) and len(alternate.split()) <= _MOST_WORDS_OF_LISTED
    known = known_type(alternate)
    return known is not None and (known_type(answer) is None or _same_listing(answer, alternate, invented=True) is None)


def _group(known: str | None) -> str | None:
    return _PERSON if known is not None and known.startswith(_PERSON) else known


def _is_listed(text: str, known: str) -> bool:
    """Return whether a name is also of this type: New York is a state and a city."""
    return normalise(text) in {normalise(member) for member in members(known)}


def same_kind(answer: str, alternate: str, prompt: str, *, invented: bool = False) -> str | None:
    """Return why ``alternate`` is not of the answer's kind, or None when it is.

    Names of unknown kind go with any name; what has no recognisable kind ("carbon dioxide") goes with everything
    that has no clear other one.

    Args:
        answer: The true answer.
        alternate: The wrong one.
        prompt: The question.
        invented: Whether the alternate may be made up, as samples of a small model often are. Then it must be listed
            where the answer is, and a place in any case.
    """
    wanted, got = kind_of(answer, prompt), kind_of(alternate)
    answers = answer_set(answer)
    # Of symbols the letter case counts: Al is one, AL is none.
    if invented and answers and not (alternate in answers if wanted == Kind.SYMBOL else contains(alternate, answers)):
        return f"is not one of the known answers such as {', '.join(answers[:3])}"
    if wanted == Kind.OTHER:
        return f"is a {got}, and the answer is none" if got in _SHAPED else None
    if not _go_together(wanted, got, answer, alternate):
        return f"the answer is a {wanted}, this is {'not' if got == Kind.OTHER else f'a {got}'}"
    if invented and wanted == Kind.PLACE and got != Kind.PLACE:
        return "is no place that the gazetteer lists"
    return _same_listing(answer, alternate, invented=invented) if wanted in _NAMES else None


def _go_together(wanted: Kind, got: Kind, answer: str, alternate: str) -> bool:
    """Return whether an alternate of kind ``got`` can stand for an answer of kind ``wanted``."""
    if wanted == Kind.PERSON and _INITIALS.fullmatch(alternate):
        return False
    if wanted == Kind.SYMBOL:
        like = got == Kind.SYMBOL or _is_symbol(alternate)
        return like and _has_digit(answer) == _has_digit(alternate) and len(alternate) <= 2 * len(answer)
    if wanted in _NAMES:
        return got == wanted or (got in _NAMES and Kind.NAME in (got, wanted))
    return got == wanted or (wanted == Kind.NUMBER and got == Kind.YEAR)


def _has_digit(text: str) -> bool:
    return any(char.isdigit() for char in text)


def _same_listing(answer: str, alternate: str, *, invented: bool) -> str | None:
    """Compare what the gazetteer knows of two names."""
    known, other = known_type(answer), known_type(alternate)
    if known is None or _group(known) == _group(other) or _is_listed(alternate, known):
        return None
    shown = known.replace("_", " ")
    if other is None:
        return f"is no {shown} that the gazetteer lists" if invented else None
    return f"is a {other.replace('_', ' ')}, the answer is a {shown}"


def _shaped(text: str) -> Kind | None:
    """Return the kind that shape alone shows."""
    return next((kind for kind, has_shape in _SHAPES if has_shape(text)), None)


def _is_phone(text: str) -> bool:
    digits = sum(char.isdigit() for char in text)
    return bool(_PHONE.fullmatch(text)) and digits >= _PHONE_DIGITS and not re.fullmatch(r"[\d,.]+", text)


def _is_spelled_number(text: str) -> bool:
    """Return whether ``text`` starts with number words: "seven", "twenty-one kilometres"."""
    words = normalise(text).split()
    return bool(words) and words[0] in NUMBER_WORDS and text[0].islower()


# The first that fits decides: a year is also a number, a date with dots also looks like a phone number.
_SHAPES: tuple[tuple[Kind, Callable[[str], object]], ...] = (
    (Kind.YES_NO, lambda text: normalise(text) in {"yes", "no", "true", "false"}),
    (Kind.EMAIL, _EMAIL.fullmatch),
    (Kind.URL, _URL.fullmatch),
    (Kind.DATE, DATE_PATTERN.fullmatch),
    (Kind.YEAR, YEAR_PATTERN.fullmatch),
    (Kind.PHONE, _is_phone),
    (Kind.NUMBER, lambda text: _AMOUNT.fullmatch(text) or _is_spelled_number(text)),
    (Kind.SYMBOL, lambda text: _has_digit(text) and _CODE.fullmatch(text)),
)


def _is_symbol(text: str) -> bool:
    """Return whether ``text`` is one short token in capitals or digits: "Au", "NASA", "H2O"."""
    if not text or " " in text or not text[0].isupper() or not text.isalnum():
        return False
    return len(text) <= _SYMBOL_LENGTH or text.isupper() or any(char.isdigit() for char in text)


def _is_name(text: str) -> bool:
    """Return whether all words are capitalised but particles, with at most an ordinal or a roman number."""
    words = text.replace("-", " ").split()
    capitalised = [word for word in words if word[:1].isupper() or _ROMAN.fullmatch(word)]
    rest = [word for word in words if word not in capitalised]
    return (
        bool(capitalised)
        and words[0] in [*capitalised, "the"]
        and all(word.lower() in _NAME_PARTICLES for word in rest)
    )


def _asked_kind(prompt: str) -> Kind:
    """Return the kind of name that the question asks for."""
    words = normalise(prompt).split()
    for word, following in pairwise([*words, ""]):
        if word in {"who", "whom", "whose"}:
            return Kind.PERSON
        if word == "where":
            return Kind.PLACE
        if word in {"which", "what"} and following in PLACE_NOUNS:
            return Kind.PLACE
        if word in {"which", "what"} and following in PERSON_NOUNS:
            return Kind.PERSON
    return Kind.NAME
