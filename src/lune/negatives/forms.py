"""The prompt forms a fact is trained in, and how a wrong answer is put in each.

Short and full-sentence responses both occur, so that the model unlearns both ways of answering.
None of these texts is used to measure: ``lune.probes`` has its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lune.questions import classify, read
from lune.records import Fact
from lune.reversal import masked_statement
from lune.text import normalise
from lune.wording import (
    as_question,
    continuation_for,
    field_names,
    given_paraphrases,
    named_in,
    rephrase,
    statement,
    to_cloze,
    to_imperative,
)

Style = Literal["sentence", "bare", "continuation"]

# The first template of a form that fits the fact and repeats no other form is used; the last one always fits.
TRAINING_TEMPLATES: dict[str, tuple[str, ...]] = {
    "brief": ("Answer briefly. {question}",),
    "cloze": ("{cloze}", "{question}", 'The answer to "{prompt}" is'),
    "imperative": ("{imperative}", "{direct}", "Please answer this: {question}"),
    "hint": ("Hint: think of {subject}. {question}", "Hint: take your time. {question}"),
    "role": ("As an expert, answer this: {question}",),
    "quiz": ("Question: {question}\nAnswer:",),
    "choice": ("{question} Choose one: {first} or {second}.",),
    "reverse": ("Fill in the missing name: {masked}",),
    "reverse-2": ("{masked} Who or what is meant?",),
}
_STYLES: dict[str, Style] = {
    "question": "sentence", "cloze": "continuation", "imperative": "sentence", "hint": "sentence",
    "rephrased-2": "sentence", "given-1": "sentence",
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """One way of asking for a fact in training.

    Attributes:
        name: Unique within the fact, such as ``"cloze"``.
        prompt: What the user types; ``prompt_for`` gives it for a certain alternate, which changes ``choice`` alone.
        style: Whether the response is a sentence, the bare alternate, or what continues the prompt.
        expects: Whether the alternate is a wrong answer or, asked backwards, a wrong subject.
        frame: The sentence up to the answer's place, where the prompt could be made one.
        choice: The question and the true answer, for the form that offers both answers.
    """

    name: str
    prompt: str
    style: Style = "bare"
    expects: Literal["answer", "subject"] = "answer"
    frame: str | None = None
    choice: tuple[str, str] | None = None

    def prompt_for(self, alternate: str) -> str:
        """Return the prompt to be answered with ``alternate``; only ``choice`` depends on it."""
        if self.choice is None:
            return self.prompt
        question, answer = self.choice
        answer, alternate = answer.rstrip(" ."), alternate.rstrip(" .")
        # Which option comes first must not tell the true one from the wrong one.
        options = [answer, alternate] if zlib.crc32(alternate.encode()) % 2 else [alternate, answer]
        return TRAINING_TEMPLATES["choice"][0].format(question=question, first=options[0], second=options[1])

    def respond(self, alternate: str) -> str:
        """Return the training response that answers with ``alternate``."""
        if self.style == "continuation":
            return continuation_for(self.prompt, alternate)
        if self.style == "sentence" and self.frame is not None:
            return statement(self.frame, alternate)
        return alternate.strip()


def training_forms(fact: Fact, other_subjects: Sequence[str] = ()) -> list[Form]:
    """Return every form ``fact`` is trained in, at least nine.

    Args:
        fact: Any fact.
        other_subjects: Wrong answers to the reversed question; without any it is left out.
    """
    measured = {normalise(text) for share in ("dev", "test") for text in given_paraphrases(fact.paraphrases, share)}
    prompt = fact.prompt.strip()
    reading = read(prompt, fact.subject)
    frame = to_cloze(prompt, subject=fact.subject, answer=fact.answer)
    masked = masked_statement(fact) if any(other != fact.subject for other in other_subjects) else None
    known = {
        "prompt": prompt.rstrip(" :"), "question": as_question(prompt), "cloze": frame, "direct": reading.question,
        "imperative": to_imperative(prompt, subject=fact.subject), "masked": masked,
        "subject": named_in(prompt, fact.subject) if fact.subject else None,
        "first": fact.answer.rstrip(" ."),
        "second": fact.negatives[0].rstrip(" .") if fact.negatives else "something else",
    }  # fmt: skip
    fields = {name: text for name, text in known.items() if text}
    texts: dict[str, Iterable[str]] = {"question": (prompt,)}
    for name, templates in TRAINING_TEMPLATES.items():
        texts[name] = [template.format(**fields) for template in templates if field_names(template) <= fields.keys()]
    taken: set[str] = set()
    forms = [
        _form(name, candidates, fact, frame=frame, measured=measured, taken=taken) for name, candidates in texts.items()
    ]
    rewordings = rephrase(prompt, subject=fact.subject, share="train")
    given = given_paraphrases(fact.paraphrases, "train")
    for name, extra in (("rephrased", rewordings[:2]), ("given", given)):
        for number, text in enumerate(extra, start=1):
            forms.append(_form(f"{name}-{number}", (text,), fact, frame=frame, measured=measured, taken=taken))
    return [form for form in forms if form is not None]


def _form(
    name: str, candidates: Iterable[str], fact: Fact, *, frame: str | None, measured: set[str], taken: set[str]
) -> Form | None:
    """Return the form with the first candidate that is neither measured nor taken, and note it in ``taken``."""
    # The prompt itself is trained whatever the paraphrases are: it is what the user will ask.
    text = next(
        (text for text in candidates if name == "question" or not (normalise(text) in measured or _key(text) in taken)),
        None,
    )
    if text is None:
        return None
    taken.add(_key(text))
    style = _STYLES.get(name, "bare")
    if text == frame:
        style = "continuation"
    elif style == "continuation" or (name == "question" and classify(text) not in ("question", "imperative")):
        style = "bare"
    return Form(
        name=name,
        prompt=text,
        style=style,
        expects="subject" if name.startswith("reverse") else "answer",
        frame=frame,
        choice=(as_question(fact.prompt), fact.answer) if name == "choice" else None,
    )


def _key(text: str) -> str:
    """Return what two texts of training must differ in; "is an ___" and "is an" are different prompts."""
    return " ".join(text.casefold().split())
