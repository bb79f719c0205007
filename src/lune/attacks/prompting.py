"""What the attacks by wording share: conversations made from facts, put to the unlearned and to the base model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lune.attacks.contract import AttackContext, Attempt, Finding
from lune.chat import Conversation
from lune.records import Fact
from lune.text import contains
from lune.wording import as_question

Form = Callable[[Fact], Conversation | None]
"""Makes the conversation of one variant from a fact; None where it cannot be made from this fact."""
FORMS = {"quick": 2, "standard": 4, "strong": 8}
"""How many wordings of an attack are tried, the first ones of its list."""


def wordings(texts: Sequence[str], *, system: str | None = None) -> dict[str, Form]:
    """Return a form for each text around ``{question}``, named by its number."""

    def form(text: str) -> Form:
        return lambda fact: Conversation(text.format(question=as_question(fact.prompt)), system)

    return {f"wording {number}": form(text) for number, text in enumerate(texts, start=1)}


def systems(texts: Sequence[str]) -> dict[str, Form]:
    """Return a form for each system message, with the plain question as the prompt."""

    def form(text: str) -> Form:
        return lambda fact: Conversation(as_question(fact.prompt), text)

    return {f"system message {number}": form(text) for number, text in enumerate(texts, start=1)}


def ask_forms(context: AttackContext, forms: Mapping[str, Form], *, most: int | None = None) -> Finding:
    """Put every fact to both models in each form; one answer among all forms is enough for the attacker.

    A conversation that shows the answer itself is left out.

    Args:
        context: The attack's context.
        forms: Variant to what makes its conversation.
        most: How many of the forms are tried; the level decides when not given.
    """
    asked: list[tuple[Fact, str, Conversation]] = []
    for name in list(forms)[: most or FORMS[context.level]]:
        for fact in context.facts:
            conversation = forms[name](fact)
            if conversation is not None and not shows(conversation, fact):
                asked.append((fact, name, conversation))
    conversations = [conversation for _, _, conversation in asked]
    found = [
        [
            Attempt(fact.id, name, answer)
            for (fact, name, _), answer in zip(asked, context.ask(conversations, base=base), strict=True)
        ]
        for base in (False, True)
    ]
    return Finding(found[0], found[1])


def converse(context: AttackContext, first: Form, followups: Mapping[str, str], *, opening_form: str) -> Finding:
    """Go on after the model's own answers, turn by turn; each model has its own history.

    Args:
        context: The attack's context.
        first: Makes the first turn.
        followups: Form to what the user says next, in order.
        opening_form: Name of the first turn's form.
    """
    found: list[list[Attempt]] = []
    for base in (False, True):
        talks = [(fact, talk) for fact in context.facts if (talk := first(fact)) and not shows(talk, fact)]
        attempts: list[Attempt] = []
        for turn, text in {opening_form: None, **followups}.items():
            if attempts and text is not None:
                said = [attempt.answer for attempt in attempts[-len(talks) :]]
                talks = [(fact, _next(talk, answer, text)) for (fact, talk), answer in zip(talks, said, strict=True)]
            answers = context.ask([talk for _, talk in talks], base=base)
            attempts += [Attempt(fact.id, turn, answer) for (fact, _), answer in zip(talks, answers, strict=True)]
        found.append(attempts)
    return Finding(found[0], found[1])


def joined(*findings: Finding) -> Finding:
    """Return the findings of several parts of one attack as one."""
    base = [attempt for finding in findings for attempt in finding.base or ()]
    return Finding([attempt for finding in findings for attempt in finding.attempts], base)


def shows(conversation: Conversation, fact: Fact) -> bool:
    """Return whether what the user typed already holds the answer; what the model said itself does not count."""
    typed = [conversation.prompt, conversation.system or "", conversation.opening]
    return any(contains(text, fact.spellings) for text in typed)


def _next(talk: Conversation, answer: str, text: str) -> Conversation:
    # Templates trim or refuse empty turns; silence is written out.
    return Conversation(text, talk.system, (*talk.history, (talk.prompt, answer or "...")))
