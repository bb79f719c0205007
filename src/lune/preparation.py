"""Everything that is made before training: subjects, neighbourhood, negatives, probes, answers before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lune.evaluation import RememberedAnswers, ask, known_facts
from lune.negatives.build import NegativeSet, build_negatives
from lune.negatives.own_words import in_own_words
from lune.probes.attacks import attack_probes
from lune.probes.general import general_probes
from lune.probes.paraphrases import paraphrase_probes
from lune.probes.surroundings import Surroundings, look_around
from lune.records import Anchor, Fact, Probe, Split
from lune.settings import ForgetSettings, NegativesStyle
from lune.subjects import with_subjects
from lune.text import contains
from lune.wording import named_in

GENERAL_QUESTIONS: dict[Split, int] = {"dev": 20, "test": 110}
DEV_ATTACKS_STRIDE = 2
"""Of the two dev templates of each attack one is asked: dev probes are asked after every pass, and that is dear."""


@dataclass(frozen=True)
class Prepared:
    """What a run knows before it trains.

    Attributes:
        facts: The request, each fact with a subject.
        known: The facts the base model answers rightly.
        made: Negatives, rejected ones, alternates.
        anchors: Prompts with the base model's answers, to be held.
        look_alikes: Subjects close to the forgotten ones, each with a prompt it stands in; never those of a probe.
        dev: Dev probes; neighbours and general questions only where the base model is right.
        test: Test probes.
        before: The base model's answers to the test probes, by probe id.
        seconds: Time for negatives, anchors and neighbours, and for the answers before.
    """

    facts: list[Fact]
    known: list[Fact]
    made: NegativeSet
    anchors: list[Anchor]
    look_alikes: list[tuple[str, str]]
    dev: list[Probe]
    test: list[Probe]
    before: dict[str, str]
    seconds: dict[str, float]


def prepare(facts: Sequence[Fact], base: RememberedAnswers, settings: ForgetSettings) -> Prepared:
    """Make negatives, anchors and probes for a request and take the base model's answers.

    Raises:
        NegativesError: When a fact has too few valid alternates.
    """
    began = time.perf_counter()
    complete = with_subjects(facts, base)
    known = known_facts(complete, base)
    around = look_around(complete, base, anchors=settings.anchors, seed=settings.seed)
    made = build_negatives(complete, base, settings, around.other_answers, around.other_subjects)
    prompts = list(dict.fromkeys(negative.prompt for negative in made.negatives))
    if settings.negatives_style == NegativesStyle.ALTERNATIVE:
        own_answers = dict(zip(prompts, base.answer(prompts), strict=True))
        made = replace(made, negatives=in_own_words(made.negatives, complete, own_answers))
    prepared_at = time.perf_counter()
    dev = make_probes(complete, known, around, made, base=base, split="dev", seed=settings.seed)
    test = make_probes(complete, known, around, made, base=base, split="test", seed=settings.seed)
    before_dev = ask(base, dev)
    before = ask(base, test)
    held = {"neighbour", "general"}
    dev = [probe for probe in dev if probe.kind not in held or contains(before_dev[probe.id], probe.expected)]
    seconds = {"negatives": prepared_at - began, "evaluate": time.perf_counter() - prepared_at}
    return Prepared(complete, known, made, around.anchors, around.look_alikes, dev, test, before, seconds)


def make_probes(
    facts: Sequence[Fact],
    known: Sequence[Fact],
    around: Surroundings,
    made: NegativeSet,
    *,
    base: RememberedAnswers,
    split: Split,
    seed: int,
) -> list[Probe]:
    """Return all probes of one split.

    The direct prompts are test probes. What steers a run is never asked in them: its success rate is taken over
    the dev paraphrases. Dev probes exist for known facts only; the others cannot tell anything.
    """
    backgrounds = dict(
        zip(
            (f.id for f in facts),
            base.answer([f"Tell me about {named_in(f.prompt, f.subject or f.prompt)}." for f in facts]),
            strict=True,
        )
    )
    probes: list[Probe] = []
    for fact in facts if split == "test" else known:
        if split == "test":
            probes.append(
                Probe(f"{fact.id}/direct", "direct", fact.prompt, fact.spellings, split, fact.id, subject=fact.subject)
            )
        probes += paraphrase_probes(fact, split)
        probes += attack_probes(
            fact,
            split,
            background=backgrounds[fact.id],
            examples=around.examples.get((fact.id, split), ()),
            alternates=made.alternates[fact.id],
            seed=seed,
        )[:: DEV_ATTACKS_STRIDE if split == "dev" else 1]
    probes += [probe for probe in around.probes if probe.split == split]
    return probes + general_probes(split, GENERAL_QUESTIONS[split])
