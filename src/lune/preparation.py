"""Everything that is made before training: subjects, neighbourhood, negatives, probes, answers before."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from lune.benchmarks.task import Task
from lune.evaluation import RememberedAnswers, ask, known_facts
from lune.negatives.build import NegativeSet, build_negatives
from lune.negatives.own_words import in_own_words
from lune.probes.anchors import answered_look_alikes
from lune.probes.attacks import ATTACKS, attack_probes
from lune.probes.general import asks_for, general_probes
from lune.probes.paraphrases import AUTOMATIC, paraphrase_probes
from lune.probes.reserved import Reserved
from lune.probes.surroundings import Surroundings, look_around
from lune.records import Anchor, Fact, LookAlike, Probe, Split
from lune.settings import AdapterKind, ForgetSettings, NegativesStyle
from lune.subjects import with_subjects
from lune.text import contains, normalise
from lune.wording import named_in

PROBES_FORMAT = 3
"""Raised whenever the same request would be asked other probes, or answers would be read otherwise."""
GENERAL_QUESTIONS: dict[Split, int] = {"dev": 20, "test": 110}
DEV_ATTACKS_STRIDE = 2
"""Of the two dev templates of each attack one is asked: dev probes are asked after every pass, and that is dear."""
DEV_FORGET_PROBES = 110
"""About how many dev probes ask for what is to be forgotten: of more facts each is asked fewer, at least two."""
ATTACK_PROBES = 300
"""About how many adversarial test probes are asked: of more facts each attack asks fewer templates, at least one.

Answers to them run longest, so that of twenty facts they were half of a benchmark's time."""


@dataclass(frozen=True)
class Prepared:
    """What a run knows before it trains.

    Attributes:
        facts: The request, each fact with a subject.
        known: The facts the base model answers rightly.
        made: Negatives, rejected ones, alternates.
        anchors: Prompts with the base model's answers, to be held.
        look_alikes: What is close to the forgotten subjects and answers, for keyed adapters with the base model's
            answers; never of a probe.
        dev: Dev probes; neighbours and general questions only where the base model is right.
        test: Test probes.
        before: The base model's answers to the test probes, by probe id.
        seconds: Time for negatives, anchors and neighbours, and for the answers before.
        held_out: Subjects that only a benchmark's own probes may ask about.
        tested: Prompts that only a benchmark's own probes may ask, normalised, in whatever wording around them.
    """

    facts: list[Fact]
    known: list[Fact]
    made: NegativeSet
    anchors: list[Anchor]
    look_alikes: list[LookAlike]
    dev: list[Probe]
    test: list[Probe]
    before: dict[str, str]
    seconds: dict[str, float]
    held_out: tuple[str, ...] = ()
    tested: frozenset[str] = frozenset()

    def keeps_out(self, prompt: str) -> bool:
        """Return whether ``prompt`` asks what only a benchmark's own probes may ask, or what the request keeps."""
        return _asks(prompt, self.tested) or not Reserved(tuple(self.facts)).allows(prompt)

    @property
    def trained(self) -> list[Fact]:
        """The facts that negatives were made for: of a user's request the known ones, of a benchmark's all."""
        return [fact for fact in self.facts if fact.id in self.made.alternates]

    @property
    def general_dropped(self) -> int:
        """How many shipped general questions were not asked because they match a fact of the request."""
        splits: tuple[Split, ...] = ("dev", "test")
        shipped = [probe for split in splits for probe in general_probes(split)]
        return sum(asks_for(self.facts, probe.prompt, probe.expected) for probe in shipped)


def prepare(
    facts: Sequence[Fact], base: RememberedAnswers, settings: ForgetSettings, task: Task | None = None
) -> Prepared:
    """Make negatives, anchors and probes for a request and take the base model's answers.

    Args:
        facts: The request.
        base: The base model.
        settings: The run's settings.
        task: A benchmark's task: its probes are test probes, and what it tests on stays out of everything that trains
            or steers.

    Raises:
        NegativesError: When a fact has too few valid alternates.
    """
    began = time.perf_counter()
    complete = with_subjects(facts, base)
    known = known_facts(complete, base)
    held_out = _held_out(task, complete) if task else ()
    # Forgetting what was never known only teaches inventions. A benchmark's forget set is trained whole, as published.
    trained = complete if task else known
    wanted = settings.anchors if trained else 0
    own = task.probes if task else ()
    around = look_around(
        trained,
        base,
        anchors=wanted,
        seed=settings.seed,
        held_out=held_out,
        whole=complete,
        test_neighbours=not any(probe.kind == "neighbour" for probe in own),
    )
    made = make_negatives(trained, base, settings, around, leave_out=task is not None)
    tested = {normalise(probe.prompt) for probe in own} - {normalise(fact.prompt) for fact in facts}
    tested |= {normalise(prompt) for prompt in task.details.get("held_out_prompts", ())} if task else set()
    made = replace(made, negatives=[each for each in made.negatives if not _asks(each.prompt, tested)])
    anchors = [each for each in around.anchors if not _asks(each.prompt, tested)]
    alike = [each for each in around.look_alikes if not _asks(each.prompt, tested)]
    if settings.adapter is AdapterKind.KEYED:
        alike = answered_look_alikes(alike, base)
    prepared_at = time.perf_counter()
    # A refusal that is trained is no option of a multiple choice; plain wrong answers are.
    alternative = settings.negatives_style is NegativesStyle.ALTERNATIVE
    options = made if alternative else replace(made, alternates=around.other_answers)
    dev = make_probes(complete, known, around, options, base=base, split="dev", seed=settings.seed)
    test = make_probes(complete, known, around, options, base=base, split="test", seed=settings.seed)
    dev = [probe for probe in dev if not _asks(probe.prompt, tested)]
    test = with_own_probes(test, own)
    before_dev = ask(base, dev)
    before = ask(base, test)
    held = {"neighbour", "general"}
    dev = [probe for probe in dev if probe.kind not in held or contains(before_dev[probe.id], probe.expected)]
    seconds = {"negatives": prepared_at - began, "evaluate": time.perf_counter() - prepared_at}
    return Prepared(complete, known, made, anchors, alike, dev, test, before, seconds, held_out, frozenset(tested))


def _held_out(task: Task, facts: Sequence[Fact]) -> tuple[str, ...]:
    """Return the subjects that only the task's own probes may ask about."""
    forgotten = [fact.subject for fact in facts if fact.subject]
    asked = [probe.subject for probe in task.probes if probe.subject and probe.kind in ("neighbour", "general")]
    # Other relations of a forgotten subject are asked as well: the subject itself is what training is about.
    free = [
        name
        for name in asked
        if not any(contains(name, [subject]) or contains(subject, [name]) for subject in forgotten)
    ]
    return tuple(dict.fromkeys([*task.details.get("held_out_subjects", ()), *free]))


def _asks(prompt: str, tested: Collection[str]) -> bool:
    """Return whether one of the normalised prompts ``tested`` stands in ``prompt``, in whatever wording around it."""
    text = f" {normalise(prompt)} "
    return any(f" {each} " in text for each in tested if each)


def make_negatives(
    facts: Sequence[Fact],
    base: RememberedAnswers,
    settings: ForgetSettings,
    around: Surroundings,
    *,
    leave_out: bool = False,
) -> NegativeSet:
    """Return the negatives of facts that are to be trained, every second in the model's own words where that is set.

    Raises:
        NegativesError: When a fact has too few valid alternates.
    """
    made = build_negatives(facts, base, settings, around.other_answers, around.other_subjects, leave_out=leave_out)
    if not settings.own_words or settings.negatives_style is not NegativesStyle.ALTERNATIVE:
        return made
    prompts = list(dict.fromkeys(negative.prompt for negative in made.negatives))
    own_answers = dict(zip(prompts, base.answer(prompts), strict=True))
    return replace(made, negatives=in_own_words(made.negatives, facts, own_answers))


def with_own_probes(made: Sequence[Probe], own: Sequence[Probe]) -> list[Probe]:
    """Return the test probes of a benchmark's task: its own, and of the self-made those that it has no better ones for.

    Its neighbours take the place of the self-made; all others come beside them.
    A prompt that both ask about the same fact is asked once.
    """
    replaced = {probe.kind for probe in own} & {"neighbour"}
    asked = {(probe.fact_id, probe.kind, normalise(probe.prompt)) for probe in own}
    taken = {probe.id for probe in own}
    kept = [
        probe
        for probe in made
        if probe.kind not in replaced
        and probe.id not in taken
        and (probe.fact_id, probe.kind, normalise(probe.prompt)) not in asked
    ]
    return [*kept, *own]


def some_of_each(attacks: Sequence[Probe], count: int, place: int) -> list[Probe]:
    """Return ``count`` of the probes of each attack; ``place``, the fact's, decides which, so that all have their turn.

    Args:
        attacks: The adversarial probes of one fact, those of one attack together.
        count: How many to keep of each attack, all where it has fewer.
        place: Any whole number; neighbouring ones keep different templates.
    """
    kept = []
    for _, group in groupby(attacks, key=lambda probe: probe.attack):
        kept += _in_turn(list(group), count, place)
    return kept


def _in_turn(probes: Sequence[Probe], count: int, start: int) -> list[Probe]:
    """Return ``count`` of the probes, those from ``start`` on and around, in their order; all where there are fewer."""
    turned = {(start + step) % len(probes) for step in range(min(count, len(probes)))}
    return [probe for number, probe in enumerate(probes) if number in turned]


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
    templates = max(1, ATTACK_PROBES // (len(ATTACKS) * max(1, len(facts))))
    share = DEV_FORGET_PROBES / (max(1, len(known)) * (len(ATTACKS) + AUTOMATIC["dev"]))
    for place, fact in enumerate(facts if split == "test" else known):
        if split == "test":
            probes.append(
                Probe(f"{fact.id}/direct", "direct", fact.prompt, fact.spellings, split, fact.id, subject=fact.subject)
            )
        paraphrases = paraphrase_probes(fact, split)
        attacks = attack_probes(
            fact,
            split,
            background=backgrounds[fact.id],
            examples=around.examples.get((fact.id, split), ()),
            alternates=made.alternates.get(fact.id, ()),
            seed=seed,
        )
        if split == "test":
            probes += [*paraphrases, *some_of_each(attacks, templates, place)]
        else:
            for group in (paraphrases, attacks[::DEV_ATTACKS_STRIDE]):
                count = max(1, round(share * len(group)))
                probes += _in_turn(group, count, place * count)
    probes += [probe for probe in around.probes if probe.split == split]
    # Such a question asks for the forgotten fact itself or its neighbour: no measure of what lies far from it.
    general = [probe for probe in general_probes(split) if not asks_for(facts, probe.prompt, probe.expected)]
    return probes + general[: GENERAL_QUESTIONS[split]]
