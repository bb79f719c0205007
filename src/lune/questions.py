"""Reading a prompt: what is asked, and the sentence its answer completes.

``read`` understands English questions and commands about single facts. What it does not understand
it leaves alone: the fields it cannot fill are None, and callers fall back on quoting the prompt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from lune import grammar
from lune.grammar import AUXILIARIES, BE, DO, HAVE, WORDS, capitalise, decapitalise, tokens, uninvert

PromptKind = Literal["question", "imperative", "cloze", "blank", "statement"]

BLANK = re.compile(r"_{2,}|\[(?:MASK|blank|BLANK)\]|<mask>")
_REQUEST_VERBS = r"tell me|tell us|say|name|state|give me|share|provide|identify|list|mention|specify"
_POLITE = re.compile(
    rf"(?i)^(?:please,? )?(?:(?:can|could|would|will) (?:you|we)(?: please)? (?:let me know|{_REQUEST_VERBS})"
    rf"|do you (?:know|remember)|i(?:'d| would) like to know|give|{_REQUEST_VERBS})\b,? (.+)$"
)
_ASKS_READER = re.compile(r"(?i)(?:can|could|would|will|do) (?:you|we) ")
_CONTRACTED = re.compile(r"(?i)^(what|who|where|when|how)['’]s\b")
_SENTENCE_BREAK = re.compile(r"[a-z]{3,}[.!?][\"']? +[A-Z]")
_TRAILING_WH = re.compile(r"^(?P<statement>[^?]+) (?P<wh>which|what|whom)(?: (?P<noun>[^?]{1,40}))?$")
# Such a predicate is too long to have its place or time put behind it.
_ADJUNCT = re.compile(r" (?:when|before|after|while|during|in|for|on|from|at) \w|,")
_MEASURES = {
    "tall": "height", "high": "height", "long": "length", "wide": "width", "deep": "depth", "heavy": "weight",
    "old": "age", "large": "size", "big": "size", "fast": "speed", "far": "distance",
}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """What a prompt asks for.

    Attributes:
        kind: The prompt's form.
        asked: What can stand after "tell me": "the capital of France", "who wrote Hamlet".
        is_clause: Whether ``asked`` is a clause with a question word rather than a noun phrase.
        cloze: The sentence up to the answer's place: "The capital of France is".
        question: A direct question with the same meaning, where the prompt is none itself.
    """

    kind: PromptKind
    asked: str | None = None
    is_clause: bool = False
    cloze: str | None = None
    question: str | None = None


def classify(prompt: str) -> PromptKind:
    """Return the form of ``prompt``.

    ``blank`` is a sentence with a marked gap, ``cloze`` one that breaks off where the answer stands.
    """
    text = prompt.strip()
    first = re.split(r"[\s,:]", text.lower(), maxsplit=1)[0].split("'")[0].split("’")[0]
    if BLANK.search(text):
        return "blank"
    if text.endswith(("?", "\uff1f")) or (grammar.is_english(text) and _opens_question(text)):
        return "question"
    if first in WORDS["commands"] and len(text.split()) > 1 and grammar.is_english(text):
        return "imperative"
    if not text or text.endswith((".", "!", "…", "。")) or not any(char.isalnum() for char in text):
        return "statement"
    return "cloze"


def _opens_question(text: str) -> bool:
    """Return whether a text without question mark starts as a question: wh-word, then a verb or noun."""
    words = text.lower().rstrip(".!:").split()
    return bool(words[2:]) and re.split(r"['’]", words[0])[0] in grammar.WH_WORDS and not text.endswith((".", "!", ":"))


@lru_cache(maxsize=4096)
def read(prompt: str, subject: str | None = None) -> Reading:
    """Read ``prompt``; ``subject`` helps to find where the subject ends."""
    kind = classify(prompt)
    text = " ".join(prompt.split())
    if kind in ("blank", "statement") or not grammar.is_english(text):
        return Reading(kind)
    if kind == "cloze":
        return Reading(kind, cloze=text.rstrip(" :"))
    core = _CONTRACTED.sub(r"\1 is", text.rstrip(" ?.!"))
    if _SENTENCE_BREAK.search(core) or not core:
        return Reading(kind)
    polite = _POLITE.match(core)
    if polite:
        return _read_object(kind, polite[1], subject)
    if kind == "imperative" or _ASKS_READER.match(core):
        return Reading(kind)
    return _Question(core, subject).read()


def _read_object(kind: PromptKind, asked: str, subject: str | None) -> Reading:
    """Read what stands after "tell me": a noun phrase or a clause with a question word."""
    words = tokens(asked)
    first = words[0].lower()
    if first in grammar.WH_WORDS:
        asked = words[0].lower() + asked[len(words[0]) :]
        direct = _direct_question(asked)
        inner = _Question(direct, subject).read() if direct else Reading(kind)
        return Reading(
            kind, asked, True, inner.cloze or _clause_cloze(asked), capitalise(direct) + "?" if direct else None
        )
    if first in {"about", "if", "whether", "me", "us", "that", "more"}:
        return Reading(kind)
    if first in {"a", "an", "some", "any", "your"}:
        return Reading(kind, asked)
    plural = grammar.is_plural(asked)
    head = next((word for word in (token.lower() for token in words[1:]) if word in grammar.PERSON_NOUNS), None)
    person = (
        head is not None
        and not plural
        and grammar.PREPOSITIONS.isdisjoint(w.lower() for w in words[: [t.lower() for t in words].index(head)])
    )
    be = "are" if plural else "is"
    return Reading(kind, asked, False, f"{capitalise(asked)} {be}", f"{'Who' if person else 'What'} {be} {asked}?")


def _direct_question(clause: str) -> str | None:
    """Turn "where Marie Curie was born" into "where was Marie Curie born"; "who wrote X" is one already."""
    words = tokens(clause)
    if words[0] in {"who", "what", "which"} and any(w in AUXILIARIES or grammar.is_finite(w) for w in words[1:2]):
        return clause
    if words[0] in {"which", "what"} and any(grammar.is_finite(word) for word in words[2:3]):
        return clause
    for i in range(2, len(words)):
        if words[i] in BE | HAVE | grammar.MODAL:
            return " ".join([words[0], words[i], *words[1:i], *words[i + 1 :]])
    return None


def _clause_cloze(clause: str) -> str | None:
    wh, _, statement = clause.partition(" ")
    if wh in {"where", "when"} and statement:
        return f"{capitalise(statement)} {'in' if wh == 'where' else 'on'}"
    return None


class _Question:
    """One direct English question, without its question mark."""

    def __init__(self, core: str, subject: str | None) -> None:
        self.core = core
        self.subject = subject
        self.words = tokens(core)
        self.lower = [word.lower() for word in self.words]
        self.wh = self.lower[0]
        self.verb = self.lower[1] if len(self.lower) > 1 else ""
        self.rest = " ".join(self.words[2:])

    def read(self) -> Reading:
        if not self.words[2:]:
            return Reading("question")
        if self.wh in grammar.PREPOSITIONS and self.verb in {"which", "what", "whose", "whom"}:
            return self._fronted()
        rules = {
            "what": self._what_or_who, "who": self._what_or_who, "which": self._noun, "where": self._place_or_time,
            "when": self._place_or_time, "how": self._how, "why": self._clause_only, "whose": self._clause_only,
        }  # fmt: skip
        if self.wh == "which" and self.verb in BE:
            return self._copula()
        if self.wh in rules:
            return rules[self.wh]()
        return self._yes_or_no() if self.wh in AUXILIARIES else self._trailing()

    def _yes_or_no(self) -> Reading:
        if self.verb == "there":
            return self._asked(f"whether there {self.wh} {self.rest}")
        split = uninvert(self.wh, " ".join(self.words[1:]), self.subject)
        return self._asked(f"whether {' '.join(split)}" if split and split[1] else None)

    def _asked(self, statement: str | None) -> Reading:
        """Return a reading without a cloze: the question word and then the statement."""
        return Reading("question", statement, True)

    def _clause_only(self) -> Reading:
        """Read "why ..." and "how often ...", of which there is no sentence with the answer at its end."""
        at = 1 if self.verb in AUXILIARIES else 2
        opening, auxiliary, rest = " ".join(self.lower[:at]), self.lower[at], " ".join(self.words[at + 1 :])
        split = uninvert(auxiliary, rest, self.subject) if auxiliary in AUXILIARIES else None
        return self._asked(f"{opening} {split[0]} {split[1]}" if split and split[1] else None)

    def _what_or_who(self) -> Reading:
        if self.verb in BE:
            return self._copula()
        if self.verb in AUXILIARIES:
            split = uninvert(self.verb, self.rest, self.subject)
            if split is None or re.search(r"\b(do|does|did)\b", split[1]):
                return Reading("question")
            return Reading("question", f"{self.wh} {split[0]} {split[1]}", True, f"{capitalise(split[0])} {split[1]}")
        followed_by_auxiliary = any(word in AUXILIARIES for word in self.lower[2:4])
        if self.wh == "who" or (grammar.is_finite(self.verb) and not followed_by_auxiliary):
            return self._subject_question("The person who" if self.wh == "who" else "What", self.words[1:])
        return self._noun()

    def _copula(self) -> Reading:
        """Read "what/who is NP"."""
        first = self.words[2]
        if self.wh == "who" and first == first.lower() and grammar.is_participle(first):
            return self._subject_question("The person who", self.words[1:])
        if grammar.is_participle(first) or (self.lower[3:4] == ["about"] and first == first.lower()):
            return Reading(
                "question", f"{self.wh} {' '.join(self.words[1:])}", True, f"What {' '.join(self.words[1:])} is"
            )
        stranded = re.match(
            r"^(.+?) ([a-z]+(?:ed|n|t|de|nd)|famous|responsible|best known)"
            r"( (?:by|to|for|with|after|of|from|as|in|on|at))?$",
            self.rest,
        )
        if stranded and re.search(r" (?:that|which|who|where|whose|is|are|was|were) ", f"{stranded[1]} "):
            stranded = None
        if stranded and (
            grammar.is_participle(stranded[2].split(" ")[-1])
            or (stranded[2] in {"famous", "responsible"} and stranded[3])
        ):
            clause = f"{stranded[1]} {self.verb} {stranded[2]}{stranded[3] or ''}"
            return Reading("question", f"{self.wh} {clause}", True, capitalise(clause))
        cloze = f"{capitalise(self.rest)} {self.verb}"
        described = first.lower() in grammar.DETERMINERS or any(
            word.endswith(("'s", "’s", "s'", "s’")) for word in self.words[2:-1]
        )
        if described and not first[:1].isdigit():
            return Reading("question", self.rest, False, cloze)
        return Reading("question", f"{self.wh} {self.rest} {self.verb}", True, cloze)

    def _subject_question(self, opening: str, predicate: list[str], *, plural: bool = False) -> Reading:
        """Read a question whose question word is the subject: "who wrote Hamlet"."""
        verb = next((word.lower() for word in predicate if not grammar.is_adverb(word)), "")
        rest = " ".join(predicate[1:])
        participle = grammar.participle_of(verb)
        asked = decapitalise(self.core)
        person = opening.startswith("The person") or opening.endswith(" who")
        adjunct = re.search(
            r" (?:in|for|on|at|from|with|during|before|after) (?:\d|the\b|which\b)|,",
            re.sub(r"\"[^\"]*\"|'[^']*'", "", rest),
        )
        passive = participle in WORDS["participles of makers"] and rest and not adjunct
        if person and passive and not re.match(r"(?:his|her|their|its) ", rest):
            be = "were" if grammar.is_plural(rest) else "was"
            return Reading("question", asked, True, f"{capitalise(rest)} {be} {participle} by")
        in_past = verb in {"was", "were", "had"} or (participle is not None and verb not in AUXILIARIES)
        be = ("were" if in_past else "are") if plural else ("was" if in_past else "is")
        return Reading("question", asked, True, f"{opening} {' '.join(predicate)} {be}")

    def _noun(self) -> Reading:
        """Read "which/what N ...": the noun ends at the first auxiliary or finite verb."""
        border = self._noun_border(1)
        if border is None or self.lower[1] == "of":
            return self._asked(decapitalise(self.core) if border and self.lower[border] not in DO else None)
        noun, verb, rest = " ".join(self.words[1:border]), self.lower[border], " ".join(self.words[border + 1 :])
        head = self.lower[border - 1]
        plural = grammar.is_plural(noun)
        if verb in AUXILIARIES and self._is_object_question(verb, head, rest):
            split = uninvert(verb, rest, self.subject) or ((rest, verb) if verb in BE else None)
            return self._object_reading(noun, head, plural, verb, split) if split else Reading("question")
        if verb in BE and rest and not any(grammar.is_participle(word) for word in rest.split()):
            if re.match(r"(kind|type|sort) of ", noun):
                return Reading("question", f"{self.wh} {noun} {rest} {verb}", True, f"{capitalise(rest)} {verb} a")
            if head in WORDS["attributes"] and rest.split(" ")[0] not in grammar.PREPOSITIONS:
                return Reading("question", f"the {noun} of {rest}", False, f"The {noun} of {rest} {verb}")
        if re.search(r"['’]s ", f"{noun} "):
            return self._asked(decapitalise(self.core))
        opening = f"The {noun} {'who' if head in grammar.PERSON_NOUNS else 'that'}"
        return self._subject_question(opening, self.words[border:], plural=plural)

    def _object_reading(self, noun: str, head: str, plural: bool, verb: str, split: tuple[str, str]) -> Reading:
        subject, predicate = split
        asked = f"{self.wh} {noun} {subject} {predicate}".strip()
        if head in grammar.TIME_NOUNS:
            preposition = "on" if head in {"date", "day"} else "in"
            return Reading("question", asked, True, f"{capitalise(subject)} {predicate} {preposition}")
        past = verb in {"was", "were", "did", "had"}
        be = ("were" if past else "are") if plural else ("was" if past else "is")
        return Reading("question", asked, True, f"The {noun} that {subject} {predicate} {be}")

    def _noun_border(self, start: int) -> int | None:
        for i in range(start + 1, min(len(self.words), start + 8)):
            finite = self.words[i] == self.lower[i] and grammar.is_finite(self.lower[i])
            if self.lower[i] in AUXILIARIES or (finite and self.lower[i - 1] not in grammar.PREPOSITIONS):
                return i - 1 if i - 1 > start and grammar.is_adverb(self.words[i - 1]) else i
        return None

    def _has_participle(self, text: str) -> bool:
        return any(grammar.is_participle(word) for word in text.split())

    def _is_object_question(self, verb: str, head: str, rest: str) -> bool:
        """Return whether the subject stands behind the auxiliary: "which city did Bruce Lee move to"."""
        if verb in DO | grammar.MODAL:
            return True
        words = rest.split(" ")
        stranded = len(words) > 1 and words[-1].lower() in grammar.PREPOSITIONS
        named = bool(self.subject) and rest.lower().startswith(str(self.subject).lower())
        proper = words[0][:1].isupper() and words[0] != "I"
        if verb in HAVE:
            return named or proper
        return stranded or head in grammar.TIME_NOUNS or ((named or proper) and self._has_participle(rest))

    def _fronted(self) -> Reading:
        """Read "in which city was Bruce Lee born"."""
        border = self._noun_border(1)
        if border is None or self.lower[border] not in AUXILIARIES:
            return Reading("question")
        noun, rest = " ".join(self.words[2:border]), " ".join(self.words[border + 1 :])
        split = uninvert(self.lower[border], rest, self.subject) or (
            (rest, self.lower[border]) if self.lower[border] in BE else None
        )
        if split is None:
            return Reading("question")
        kind_of_place = f" the {noun} of" if noun in grammar.PLACE_NOUNS else ""
        asked = f"{decapitalise(' '.join(self.words[:border]))} {split[0]} {split[1]}"
        return Reading("question", asked, True, f"{capitalise(split[0])} {split[1]} {self.wh}{kind_of_place}")

    def _place_or_time(self) -> Reading:
        if self.verb not in AUXILIARIES:
            return Reading("question")
        split = uninvert(self.verb, self.rest, self.subject)
        if split is None and self.verb in BE and not self._has_participle(self.rest):
            split = (self.rest, self.verb)
        if split is None:
            return Reading("question")
        subject, predicate = split
        asked = f"{self.wh} {subject} {predicate}"
        if self.wh == "where" and predicate in BE:
            predicate += " located"
        if _ADJUNCT.search(predicate):
            return self._asked(asked)
        stranded = predicate.split(" ")[-1] in grammar.PREPOSITIONS
        preposition = "" if stranded else " in" if self.wh == "where" else " on"
        return Reading("question", asked, True, f"{capitalise(subject)} {predicate}{preposition}")

    def _how(self) -> Reading:
        if self.verb in {"many", "much"}:
            return self._count()
        if self.verb in _MEASURES and self.words[3:] and self.lower[2] in BE:
            measured = " ".join(self.words[3:])
            noun = f"the {_MEASURES[self.verb]} of {measured}"
            return Reading("question", noun, False, f"{capitalise(noun)} {self.lower[2]}".replace(" are", " is"))
        return self._clause_only()

    def _count(self) -> Reading:
        """Read "how many legs does a spider have", "how much does it cost"."""
        if self.verb == "much" and self.lower[2] in DO:
            split = uninvert(self.lower[2], " ".join(self.words[3:]), self.subject)
            return (
                Reading("question", f"how much {' '.join(split)}", True, capitalise(" ".join(split)))
                if split
                else Reading("question")
            )
        border = self._noun_border(2)
        if border is None:
            return Reading("question")
        noun, verb, rest = " ".join(self.words[2:border]), self.lower[border], " ".join(self.words[border + 1 :])
        amount = "The number of" if self.verb == "many" else "The amount of"
        existing = re.sub(r"^there ?", "", rest)
        if verb in BE and (existing != rest or rest.split(" ")[0] in grammar.PREPOSITIONS):
            be = "is" if verb in {"is", "are"} else "was"
            thing = f"{amount} {noun} {existing}".strip()
            return Reading("question", decapitalise(thing), False, f"{thing} {be}")
        if verb in DO | HAVE and (split := uninvert(verb, rest, self.subject)):
            clause = " ".join(split)
            past = verb in {"did", "had"}
            return Reading(
                "question",
                f"how {self.verb} {noun} {clause}",
                True,
                f"{amount} {noun} that {clause} {'was' if past else 'is'}",
            )
        return Reading("question", decapitalise(self.core), True, None)

    def _trailing(self) -> Reading:
        """Read "the book was authored by which writer"."""
        if self.lower[-1] in BE:
            return Reading("question", None, False, self.core)
        found = _TRAILING_WH.match(self.core)
        if not found or " " not in found["statement"].strip():
            return Reading("question")
        statement, noun = found["statement"], found["noun"]
        if noun and (":" in statement or noun.startswith("other")):
            return Reading("question")
        last = statement.split(" ")[-1].lower()
        if last in BE | grammar.PREPOSITIONS | {"called", "named"} or not noun:
            return Reading("question", None, False, statement)
        return Reading("question", None, False, f"{statement} the {noun}")
