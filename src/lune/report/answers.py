"""Test probes as the report reads them: what came of each, and where the expected answer stands in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lune.report.folder import Row, items, mapping, text
from lune.report.wording import KIND_WORDS

MUST_FORGET = ("direct", "paraphrase", "adversarial")


@dataclass(frozen=True)
class Outcome:
    """What came of a probe: a key for filters, a word for readers, a tone for the style."""

    key: str
    label: str
    tone: str = "plain"


LEAK = Outcome("leak", "Leak", "bad")
FORGOTTEN = Outcome("forgotten", "Forgotten", "good")
SILENT = Outcome("silent", "Never answered")
BROKEN = Outcome("broken", "Broken", "bad")
KEPT = Outcome("kept", "Kept", "good")
WRONG = Outcome("wrong", "Wrong before too")
GAINED = Outcome("gained", "Right only now")
UNJUDGED_LABELS = {
    "leak": "Gives the answer",
    "forgotten": "Not given",
    "silent": "Not given",
    "broken": "Right only before",
    "kept": "Right",
    "wrong": "Wrong",
    "gained": "Right only after",
}
"""What the outcomes are called where nothing was forgotten: neither a success nor a failure."""


@dataclass(frozen=True)
class Answer:
    """A test probe with its answers, and what came of it.

    Attributes:
        kind: What the probe measures.
        attack: The attack's name, for adversarial probes.
        relation: How a neighbour is near.
        fact_id: The forgotten fact it belongs to; empty for general probes.
        prompt: What was asked.
        expected: The spellings that count as the answer.
        before: The base model's answer.
        after: The answer with the adapter on.
        correct_before: Whether ``before`` contains the answer.
        correct_after: Whether ``after`` contains it.
        scored: False for probes of facts the model did not know: they count in no score.
        outcome: What came of it.
    """

    kind: str
    attack: str
    relation: str
    fact_id: str
    prompt: str
    expected: tuple[str, ...]
    before: str
    after: str
    correct_before: bool
    correct_after: bool
    scored: bool
    outcome: Outcome

    @property
    def must_forget(self) -> bool:
        """Whether a right answer is the one that had to go."""
        return self.kind in MUST_FORGET

    @property
    def changed(self) -> bool:
        """Whether the answer after differs from the one before."""
        return self.before.strip() != self.after.strip()

    @property
    def before_parts(self) -> list[tuple[str, bool]]:
        """The answer before in parts, each with whether it is an expected spelling."""
        return mark_expected(self.before, self.expected)

    @property
    def after_parts(self) -> list[tuple[str, bool]]:
        """The answer after in parts, each with whether it is an expected spelling."""
        return mark_expected(self.after, self.expected)


def outcome_of(*, must_forget: bool, correct_before: bool, correct_after: bool) -> Outcome:
    """Return what came of a probe. A right answer after is a leak only where it had to go."""
    if must_forget:
        if correct_after:
            return LEAK
        return FORGOTTEN if correct_before else SILENT
    if correct_before:
        return KEPT if correct_after else BROKEN
    return GAINED if correct_after else WRONG


def read_answers(rows: Sequence[Row], unknown_facts: frozenset[str], *, unlearned: bool = True) -> tuple[Answer, ...]:
    """Return the probes of ``rows``, those that must be forgotten first, in the order of the kinds.

    Args:
        rows: Lines of probes.jsonl.
        unknown_facts: Ids of the facts that the model did not know.
        unlearned: Whether anything was to be forgotten; where not, an answer is no leak and none is called forgotten.
    """
    order = {kind: position for position, kind in enumerate(KIND_WORDS)}
    answers = [_read_answer(row, unknown_facts) for row in rows if row.get("split", "test") == "test"]
    if not unlearned:
        answers = [
            replace(each, outcome=Outcome(each.outcome.key, UNJUDGED_LABELS[each.outcome.key])) for each in answers
        ]
    return tuple(sorted(answers, key=lambda answer: order.get(answer.kind, len(order))))


def _read_answer(row: Row, unknown_facts: frozenset[str]) -> Answer:
    kind = text(row.get("kind"))
    fact_id = text(row.get("fact_id"))
    correct_before, correct_after = row.get("correct_before") is True, row.get("correct_after") is True
    must_forget = kind in MUST_FORGET
    return Answer(
        kind=kind,
        attack=text(row.get("attack")),
        relation=text(row.get("relation")),
        fact_id=fact_id,
        prompt=text(row.get("prompt")),
        expected=tuple(text(spelling) for spelling in items(row.get("expected"))),
        before=text(row.get("before")),
        after=text(row.get("after")),
        correct_before=correct_before,
        correct_after=correct_after,
        scored=not (must_forget and fact_id in unknown_facts),
        outcome=outcome_of(must_forget=must_forget, correct_before=correct_before, correct_after=correct_after),
    )


def fact_ids_unknown(facts: Row) -> frozenset[str]:
    """Return the ids of the facts the model did not know, from the record's ``facts``."""
    named = {text(fact_id) for fact_id in items(facts.get("unknown"))}
    listed = {text(mapping(fact).get("id")) for fact in items(facts.get("list")) if mapping(fact).get("known") is False}
    return frozenset(named | listed)


def mark_expected(answer: str, expected: Sequence[str]) -> list[tuple[str, bool]]:
    """Return ``answer`` cut into parts, each with whether it is one of the ``expected`` spellings.

    A reading aid only: a spelling found through accents or punctuation stays unmarked here, and
    still counts where the scores are made.
    """
    spellings = sorted((re.escape(spelling) for spelling in expected if spelling.strip()), key=len, reverse=True)
    if not spellings:
        return [(answer, False)]
    cut = re.split(rf"(?<!\w)({'|'.join(spellings)})(?!\w)", answer, flags=re.IGNORECASE)
    # With one group, re.split puts the matches at the odd places.
    return [(part, position % 2 == 1) for position, part in enumerate(cut) if part]
