"""Asking backwards: the answer is given and the subject is wanted."""

from __future__ import annotations

import re

from lune.gazetteer import entity_type
from lune.grammar import capitalise
from lune.questions import BLANK, classify
from lune.records import Fact
from lune.text import contains
from lune.wording import statement, to_cloze

GAP = "___"
_WHAT_IS_WANTED = {
    "capital": "which country or state", "currency": "which country", "language": "which country",
    "symbol": "which element", "author": "which work", "painter": "which picture", "inventor": "which invention",
}  # fmt: skip
_OF_PERSONS = re.compile(
    r"\b(e-?mail|phone|address|mother|father|parents|wife|husband|spouse|birthplace|birthday|born|died|lives|married|age|profession|job"
    r"|salary|password|pseudonym|nationality|moved|studied|graduated)\b"
)
_WORKS = {
    "written": "Which work",
    "painted": "Which picture",
    "composed": "Which piece of music",
    "directed": "Which film",
}


def masked_statement(fact: Fact) -> str | None:
    """Return the fact as a statement with a gap for its subject: "The capital of ___ is Paris." for Paris.

    A prompt that cannot be made a statement is quoted beside its answer. None where there is no
    subject, the prompt does not name it, or the answer gives it away.
    """
    if not fact.subject:
        return None
    cloze = to_cloze(fact.prompt, subject=fact.subject, answer=fact.answer)
    if cloze is not None and _mask(cloze, fact.subject) != cloze:
        text = statement(_mask(cloze, fact.subject), fact.answer)
    elif classify(fact.prompt) == "blank":
        text = _mask(BLANK.sub(lambda _: fact.answer, fact.prompt.strip()), fact.subject)
    else:
        text = f'"{_mask(fact.prompt.strip(), fact.subject)}" - "{fact.answer}"'
    return None if GAP not in text or contains(text, (fact.subject,)) else text


def reverse_question(fact: Fact) -> str | None:
    """Return the natural question for the subject, or None when no rule fits.

    "What is the capital of France?" with "Paris" becomes "Paris is the capital of which country or state?".
    """
    cloze = to_cloze(fact.prompt, subject=fact.subject, answer=fact.answer)
    masked = _mask(cloze, fact.subject) if cloze and fact.subject else ""
    if GAP not in masked or masked_statement(fact) is None:
        return None
    answer = fact.answer.strip().rstrip(".")
    question = None
    of_subject = re.fullmatch(rf"(The [^,]+ (?:of|for|in)) {GAP} (is|are|was|were)", masked)
    owned = re.fullmatch(rf"{GAP}['’]s (.+)", masked)
    if of_subject:
        head = next((wanted for noun, wanted in _WHAT_IS_WANTED.items() if noun in of_subject[1].split()), None)
        wanted = head or ("whom" if _is_person(fact, of_subject[1]) else "what")
        relation = of_subject[1][0].lower() + of_subject[1][1:]
        question = f"{capitalise(answer)} {of_subject[2]} {relation} {wanted}?"
    elif owned:
        question = statement(f"Whose {owned[1]}", answer)[:-1] + "?"
    elif masked.lower().startswith((GAP, f"the {GAP}")):
        rest = masked.partition(GAP)[2].strip()
        participle = next((word for word in rest.split()[:2] if word in _WORKS), "")
        wanted = _WORKS.get(participle, "Who" if _is_person(fact, rest) else "What")
        question = statement(f"{wanted} {rest}", answer)[:-1] + "?"
    return question


def _is_person(fact: Fact, relation: str) -> bool:
    kind = entity_type(fact.subject or "") or ""
    return kind.startswith("person") or (not kind and _OF_PERSONS.search(relation) is not None)


def _mask(text: str, subject: str) -> str:
    # A name's article goes with it: "the Mona Lisa" leaves no "the" that would exclude other pictures.
    article = "(?:the )?" if subject[:1].isupper() else ""
    return re.sub(rf"(?<!\w){article}{re.escape(subject)}(?!\w)", GAP, text, flags=re.IGNORECASE)
