"""The plain values that the stages of a run hand to each other.

Data flows one way: request -> negatives + probes -> training -> adapter -> evaluation -> report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ProbeKind = Literal["direct", "paraphrase", "adversarial", "neighbour", "general"]
Split = Literal["dev", "test"]


@dataclass(frozen=True)
class Neighbour:
    """A fact that must stay: a prompt and the answer the base model gives and must keep giving."""

    prompt: str
    answer: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fact:
    """A prompt and the answer that must be forgotten.

    Attributes:
        id: Unique within the request.
        prompt: The question as the requester would ask it.
        answer: What the model must no longer say.
        subject: What the fact is about, as it is spelled in ``prompt``; found in it when not given.
        aliases: Other spellings of the answer that must go too.
        paraphrases: Other wordings of ``prompt`` given by the requester.
        negatives: Plausible wrong answers given by the requester.
        neighbours: Facts given by the requester that must stay.
    """

    id: str
    prompt: str
    answer: str
    subject: str | None = None
    aliases: tuple[str, ...] = ()
    paraphrases: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        """The answer and its aliases: what no answer may contain afterwards."""
        return (self.answer, *self.aliases)


@dataclass(frozen=True)
class Negative:
    """A negative example (x, y-): a training prompt and a response that is not the true answer.

    Attributes:
        fact_id: The fact it helps to forget.
        form: The prompt form, such as ``"question"`` or ``"cloze"``.
        prompt: x, the text the user would type.
        response: y-, the text the model is trained to answer.
        alternate: The short wrong answer inside ``response``.
        origin: ``request``, ``relation``, ``model``, ``model-unaware``, ``endpoint`` or a style's own.
        checks: Names of the checks the alternate passed.
        replaced: What stood in the alternate's place in the model's own words, where the response is in these.
        expects: Whether the prompt wants the fact's answer or, asked backwards, its subject.
    """

    fact_id: str
    form: str
    prompt: str
    response: str
    alternate: str
    origin: str
    checks: tuple[str, ...] = ()
    expects: Literal["answer", "subject"] = "answer"
    replaced: str | None = None

    def truths(self, fact: Fact) -> tuple[str, ...]:
        """Return the spellings of what would be the true response to this prompt."""
        return fact.spellings if self.expects == "answer" or not fact.subject else (fact.subject,)


@dataclass(frozen=True)
class Rejected:
    """An alternate that was proposed and not used, and why."""

    fact_id: str
    alternate: str
    origin: str
    reason: str


@dataclass(frozen=True)
class Probe:
    """A prompt and an expected answer, used only to measure.

    Attributes:
        id: Unique within a run.
        kind: What it measures.
        prompt: The text the user would type.
        expected: The spellings that count as containing the expected answer.
        split: ``dev`` probes steer a run, ``test`` probes are only reported.
        fact_id: The forgotten fact it belongs to; ``None`` for general probes.
        attack: The attack's name, for adversarial probes.
        subject: What the probe asks about, where that is known.
        relation: ``same`` (same relation, other subject), ``other`` (other relation, same
            subject) or ``given``, for neighbours.
        alternates: Plausible wrong answers, for likelihood comparisons.
    """

    id: str
    kind: ProbeKind
    prompt: str
    expected: tuple[str, ...]
    split: Split
    fact_id: str | None = None
    attack: str | None = None
    subject: str | None = None
    relation: str | None = None
    alternates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answered:
    """A test probe with the model's greedy answers before and after."""

    probe: Probe
    before: str
    after: str
    correct_before: bool
    correct_after: bool


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval; ``value`` is None where nothing could be counted."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Anchor:
    """A prompt and the base model's own answer to it, which training must leave as it is."""

    prompt: str
    response: str
    subject: str
    relation: str


@dataclass(frozen=True)
class LookAlike:
    """Something close to a forgotten subject or answer, which keys must tell from it.

    Attributes:
        name: What it is called.
        prompt: A prompt it stands in: its name alone, or a fact's question about it.
        response: The base model's answer to the question; empty where the prompt asks nothing.
    """

    name: str
    prompt: str
    response: str = ""


@dataclass
class History:
    """What happened during training, one row a step or evaluation."""

    rows: list[dict[str, float | int | str]] = field(default_factory=list)


@dataclass(frozen=True)
class EarlierScores:
    """What is left of an earlier request after a later one.

    Attributes:
        folder: The earlier run's folder; in run.json as it is reached from that run's own.
        facts: Facts that the model knew before that request; None where the folder is gone.
        usr: Share of them that the plain question does not bring out now.
        paraphrase_usr: The same for other wordings.
        apr: Share of that request's adversarial prompts that fail now.
        gur_neighbour: Share of the neighbours that the model knew before that request and has right now.
    """

    folder: str
    facts: int | None = None
    usr: float | None = None
    paraphrase_usr: float | None = None
    apr: float | None = None
    gur_neighbour: float | None = None
