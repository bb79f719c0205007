"""What an attack is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from lune.language_model import PROBE_TOKENS
from lune.records import Fact, Neighbour

if TYPE_CHECKING:
    import torch

    from lune.chat import Conversation
    from lune.models import LoadedModel

Level = Literal["quick", "standard", "strong"]
"""How much an attack may spend; each attack says what that is in steps, samples or wordings."""
ANSWER_TOKENS = 40
"""Length of an answer under attack: an attacker reads on where a plain question's answer would have ended."""
DIRECT_TOKENS = PROBE_TOKENS
"""Length of an answer to a direct prompt under attack: that of the run's own direct probes, to which it is compared."""


@dataclass(frozen=True)
class Attempt:
    """One answer that an attack drew out.

    Attributes:
        fact_id: The fact it was after.
        form: The variant of the attack, such as a wording, a learning rate or a scale.
        answer: What the model said.
    """

    fact_id: str
    form: str
    answer: str


@dataclass(frozen=True)
class Curve:
    """USR against how much was spent, over the facts that were attacked.

    Attributes:
        name: The variant it belongs to.
        x_name: What x counts.
        points: (x, USR), in the order of x.
    """

    name: str
    x_name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Finding:
    """What an attack found.

    Attributes:
        attempts: Every answer it drew out of the unlearned model.
        base: The answers of the base model under the same attack, None where that shows nothing. Where the base model
            does not give a fact either, its absence is no merit of the unlearning.
        strongest_form: False when the attacker has all forms together, so that one answer among them is enough; True
            when each form is an attack of its own, of which the one that recovers most is reported.
        curves: USR against what was spent.
        details: Numbers and words that belong to the record, ready for JSON.
        guessable: Whether answers are picked among options, so that some are right by chance: how many is told, but
            nothing is said to be recovered.
        remark: A sentence without which the share of facts would be misread, such as what guessing alone gives.
    """

    attempts: Sequence[Attempt]
    base: Sequence[Attempt] | None = None
    strongest_form: bool = False
    curves: Sequence[Curve] = ()
    details: Mapping[str, object] = field(default_factory=dict)
    guessable: bool = False
    remark: str = ""


@dataclass(frozen=True)
class AttackContext:
    """What an attack is given.

    Attributes:
        shipped: The base model with the run's adapter on it, as ``lune.adapters.reload`` gives it.
        facts: The facts the base model knew, at least one.
        answers: The unlearned model's answer to each fact's prompt, by fact id.
        base_answers: The base model's answer to each fact's prompt, by fact id; each contains the fact.
        examples: Other facts that the base model answers rightly, neighbours first, with its own answers.
        held_out: Valid wrong answers that no training saw, by fact id; a fact may have none.
        level: How much may be spent.
        seed: Seed of everything random.
        precision: What to train in.
    """

    shipped: LoadedModel
    facts: tuple[Fact, ...]
    answers: Mapping[str, str]
    base_answers: Mapping[str, str]
    examples: tuple[Neighbour, ...]
    held_out: Mapping[str, Sequence[str]]
    level: Level
    seed: int
    precision: torch.dtype

    @property
    def prompts(self) -> list[str]:
        """The direct prompt of each fact."""
        return [fact.prompt for fact in self.facts]

    def ask(self, conversations: Sequence[Conversation], *, base: bool = False) -> list[str]:
        """Return the greedy answer to each conversation, of the unlearned model or of the base model under it."""
        if not base:
            return self.shipped.reply(conversations, max_new_tokens=ANSWER_TOKENS)
        with self.shipped.model.disable_adapter():
            return self.shipped.reply(conversations, max_new_tokens=ANSWER_TOKENS)

    def attempts(self, form: str, answers: Sequence[str], facts: Sequence[Fact] | None = None) -> list[Attempt]:
        """Return one attempt a fact from answers in the facts' order."""
        return [Attempt(fact.id, form, text) for fact, text in zip(facts or self.facts, answers, strict=True)]


def direct_answers(model: LoadedModel, facts: Sequence[Fact]) -> list[str]:
    """Return a model's greedy answer to the direct prompt of each fact, as far as a run's own direct probes read it.

    A shorter answer would end before a fact that stands late in a sentence, and count it as forgotten.
    """
    return model.answer([fact.prompt for fact in facts], max_new_tokens=DIRECT_TOKENS)
