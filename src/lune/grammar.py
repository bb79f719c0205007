"""English word forms and word order: what it takes to turn a question into a statement.

Rules and short word lists, no parser: they cover the questions people ask about single facts and
return ``None`` where they would have to guess.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files

BE = frozenset({"is", "are", "was", "were"})
HAVE = frozenset({"has", "have", "had"})
DO = frozenset({"do", "does", "did"})
MODAL = frozenset({"can", "could", "will", "would", "should", "may", "might", "must"})
AUXILIARIES = BE | HAVE | DO | MODAL
WH_WORDS = ("who", "whom", "whose", "what", "which", "where", "when", "why", "how")
ARTICLES = frozenset({"a", "an", "the"})


def _word_lists() -> dict[str, frozenset[str]]:
    lists = json.loads(files("lune").joinpath("data", "english.json").read_text(encoding="utf-8"))
    return {name: frozenset(words.split() if isinstance(words, str) else words) for name, words in lists.items()}


# Which words are verbs, persons, times and so on: data/english.json.
WORDS = _word_lists()
DETERMINERS, PREPOSITIONS = WORDS["determiners"], WORDS["prepositions"]
PERSON_NOUNS, PLACE_NOUNS, TIME_NOUNS = WORDS["persons"], WORDS["places"], WORDS["times"]
_SHORTEST_PAST = 4  # "used"; shorter words in -ed are nouns
_SHORTEST_PLURAL = 4  # "ages"; shorter words in -s are "gas", "bus", "his"
# Base form: past, participle. The file names base, past and participle, each only where it differs from the one before.
_IRREGULAR = {
    forms[0]: (forms[min(1, len(forms) - 1)], forms[-1])
    for forms in (verb.split() for verb in WORDS["irregular verbs"])
}
_BASES = WORDS["regular verbs"] | _IRREGULAR.keys()
_PASTS = {past for past, _ in _IRREGULAR.values()} - {"read", "set", "cost", "hit", "put"}
_PARTICIPLES = {participle for _, participle in _IRREGULAR.values()}
_PARTICLES = frozenset({"of", "the", "and", "de", "la", "van", "von", "da", "al", "wa", "bin", "del", "di", "le"})

_TOKEN = re.compile(r"\"[^\"]*\"|“[^”]*”|(?<!\w)'[^']*(?:'\w[^']*)*'(?!\w)\S*|\S+")


def is_english(text: str) -> bool:
    """Return whether the English rules may be applied to ``text``; unknown words count for English."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    letters = [char for char in text if char.isalpha()]
    if "¿" in text or "¡" in text or sum(not char.isascii() for char in letters) * 2 > len(letters):
        return False
    foreign = sum(word in WORDS["foreign function words"] for word in words)
    return foreign == 0 or foreign < sum(word in WORDS["function words"] for word in words)


def tokens(text: str) -> list[str]:
    """Split ``text`` at spaces, keeping a quoted title together."""
    return _TOKEN.findall(text)


def capitalise(text: str) -> str:
    """Return ``text`` with its first letter in upper case; words such as "iPhone" stay as they are."""
    first = text.split(" ", 1)[0]
    return text if not text or any(char.isupper() for char in first[1:]) else text[0].upper() + text[1:]


def decapitalise(text: str) -> str:
    """Return ``text`` with a first word that is no name (an article, a question word, a verb) in lower case."""
    first = text.split(" ", 1)[0].rstrip(",'’s").lower()
    common = (
        first in DETERMINERS or first in AUXILIARIES or first in PREPOSITIONS or first in WH_WORDS or first in _BASES
    )
    return text[0].lower() + text[1:] if text and common else text


def past(base: str) -> str:
    """Return the simple past of a verb: "move" -> "moved", "win" -> "won"."""
    if base in _IRREGULAR:
        return _IRREGULAR[base][0]
    if base.endswith("e"):
        return base + "d"
    if re.search(r"[^aeiou]y$", base):
        return base[:-1] + "ied"
    return base + base[-1] + "ed" if base in WORDS["verbs that double their consonant"] else base + "ed"


def third_person(base: str) -> str:
    """Return the present of a verb for "it": "use" -> "uses", "have" -> "has"."""
    if base == "have":
        return "has"
    if re.search(r"(s|x|z|ch|sh|o)$", base):
        return base + "es"
    return base[:-1] + "ies" if re.search(r"[^aeiou]y$", base) else base + "s"


def is_participle(word: str) -> bool:
    """Return whether a lower-case word can follow "was": "born", "written", "founded"."""
    return word in _PARTICIPLES or (
        word.endswith("ed") and len(word) >= _SHORTEST_PAST and word not in WORDS["not participles"]
    )


def is_past(word: str) -> bool:
    """Return whether a lower-case word is a verb in the simple past: "wrote", "painted"."""
    return word in _PASTS or (
        word.endswith("ed") and len(word) >= _SHORTEST_PAST and word not in WORDS["not participles"]
    )


def is_finite(word: str) -> bool:
    """Return whether ``word`` reads as a verb with a subject before it: "wrote", "causes"."""
    return is_past(word) or (word.endswith("s") and any(word == third_person(base) for base in _BASES))


def participle_of(word: str) -> str | None:
    """Return the participle of a verb in the simple past ("wrote" -> "written"), or None if it is none."""
    for simple, participle in _IRREGULAR.values():
        if simple == word:
            return participle
    return word if is_past(word) else None


def is_plural(noun_phrase: str) -> bool:
    """Return whether the first common noun before a preposition ends like a plural."""
    head = ""
    for token in tokens(noun_phrase):
        word = token.strip(",.'\"").lower()
        if head and (word in PREPOSITIONS or word in {"that", "who", "which"} or is_participle(word)):
            break
        head = "" if token[:1].isupper() or token[:1] in "'\"“" or token.endswith(("'s", "’s")) else word
    return (
        len(head) >= _SHORTEST_PLURAL
        and head.endswith("s")
        and not head.endswith(("ss", "us", "is", "series", "species", "physics"))
    )


def with_indefinite(article: str, word: str) -> str:
    """Return "a" or "an" as ``word`` needs it, in the letter case of ``article``."""
    vowel = re.match(r"(?i)(?!uni|use|eu|one\b|u\b)[aeiou]|hour|honest|honou?r|heir", word.lstrip("'\"“")) is not None
    chosen = "an" if vowel else "a"
    return chosen.capitalize() if article[:1].isupper() else chosen


def split_subject(rest: str, verb_form: str, hint: str | None = None) -> tuple[str, str] | None:
    """Split what follows an auxiliary into its subject and the predicate.

    Args:
        rest: Such as "Marie Curie born" or "Japan use".
        verb_form: ``"base"`` after do and modals, ``"participle"`` after be and have.
        hint: A known name of the subject.

    Returns:
        ("Marie Curie", "born"), the predicate possibly empty; None where the border is not clear.
    """
    words = tokens(rest)
    start = 1
    if hint:
        found = re.match(rf"(?i)((?:an? |the )?{re.escape(hint)})(?P<possessive>['’]s?\b|['’](?= ))?(?: (.*))?$", rest)
        if found and not found["possessive"]:
            return found[1], found[3] or ""
        if found:
            start = len(tokens(found[1])) + 1
    candidates = [i for i in range(start, len(words)) if _starts_predicate(words, i, verb_form)]
    if candidates:
        border = candidates[0]
        if len(candidates) > 1 and border + 1 < len(words) and words[border + 1] == "by":
            border = candidates[-1]
        while border > 1 and is_adverb(words[border - 1]):
            border -= 1
        return " ".join(words[:border]), " ".join(words[border:])
    lower_case_pair = re.fullmatch(r"([a-z]+) ([a-z]+)", rest)
    if verb_form == "base" and lower_case_pair:
        return lower_case_pair[1], lower_case_pair[2]
    return _split_after_name(words)


def _starts_predicate(words: list[str], i: int, verb_form: str) -> bool:
    word, before = words[i], words[i - 1].lower()
    if before in DETERMINERS or (before in PREPOSITIONS and verb_form == "participle") or word != word.lower():
        return False
    if verb_form == "base":
        return word in _BASES and before not in PREPOSITIONS and not (i == 1 and before in WORDS["adverbs"])
    return is_participle(word) or word in WORDS["predicate adjectives"]


def is_adverb(word: str) -> bool:
    """Return whether ``word`` can stand between a subject and its verb: "first", "originally"."""
    return word in WORDS["adverbs"] or (word.endswith("ly") and word.islower())


def _split_after_name(words: list[str]) -> tuple[str, str] | None:
    """Take a run of capitalised words for the subject: "Stephen King from" -> ("Stephen King", "from")."""
    end = 1 if words and words[0].lower() in DETERMINERS else 0
    begin = end
    while end < len(words):
        named = words[end][:1].isupper() or words[end][:1].isdigit() or words[end][:1] in "'\"“"
        joined = end > begin and words[end] in _PARTICLES and end + 1 < len(words) and words[end + 1][:1].isupper()
        if not named and not joined:
            break
        end += 1
    if end == begin or words[end - 1].endswith(("'s", "’s")):
        return None
    return " ".join(words[:end]), " ".join(words[end:])


def uninvert(auxiliary: str, rest: str, hint: str | None = None) -> tuple[str, str] | None:
    """Put a question's auxiliary back behind its subject.

    Returns:
        ("Japan", "uses") for ("does", "Japan use"), ("Marie Curie", "was born") for ("was", "Marie
        Curie born"); None where the subject's end is not clear.
    """
    split = split_subject(rest, "base" if auxiliary in DO | MODAL else "participle", hint)
    if split is None:
        return None
    subject, predicate = split
    if auxiliary not in DO:
        return subject, f"{auxiliary} {predicate}".strip()
    words = predicate.split(" ")
    at = 1 if is_adverb(words[0]) else 0
    if (
        at >= len(words)
        or not words[at].isalpha()
        or words[at] != words[at].lower()
        or words[at] in PREPOSITIONS | {"not"}
    ):
        return None
    words[at] = _inflected(auxiliary, words[at])
    return subject, " ".join(words)


def _inflected(auxiliary: str, verb: str) -> str:
    return past(verb) if auxiliary == "did" else third_person(verb) if auxiliary == "does" else verb
