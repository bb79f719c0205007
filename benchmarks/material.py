"""What all arms are given: requests with their negatives and probes, rows of equal length, many facts for growth.

It is made once, stored, and read by every process, so that no arm trains on other texts than the next.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from benchmarks.plan import FACTS, GROWTH_FACTS, ROW_TOKENS, STEP_ROWS
from lune.benchmarks import world
from lune.benchmarks.task import Task
from lune.errors import NegativesError
from lune.evaluation import RememberedAnswers
from lune.models import LoadedModel
from lune.negatives.build import NegativeSet, build_negatives
from lune.preparation import Prepared, prepare
from lune.records import Anchor, Fact, Negative
from lune.settings import resolve
from lune.world_facts import WorldFact, read_world

ALTERNATES = 14
"""Wrong answers that a fact of the growth request is given; some do not pass the checks."""
_SEEDS = range(1, 200)
_Row = TypeVar("_Row", Negative, Anchor)


@dataclass(frozen=True)
class Material:
    """What the arms are given.

    Attributes:
        request: The request of the figures, prepared with the default settings.
        tuning: Another one, about other facts, on which learning rates are chosen; None when none is.
        step_negatives: Negatives of the request of nearly equal length, for the step figure.
        step_anchors: As many of its anchors, chosen in the same way.
        growth: Facts with negatives and anchors but without probes; None when growth is not measured.
    """

    request: Prepared
    tuning: Prepared | None
    step_negatives: list[Negative]
    step_anchors: list[Anchor]
    growth: Prepared | None


def make(model: LoadedModel, *, tuned: bool, growth: bool) -> Material:
    """Return the material for the model, from the dev split of the benchmark ``world``.

    Args:
        model: The base model: it decides which facts are known.
        tuned: Whether a tuning request is wanted.
        growth: Whether many facts are wanted.

    Raises:
        LuneError: When the model knows too little.
    """
    base = RememberedAnswers(model)
    task = _task(model, 0)
    request = prepare(task.facts, base, resolve({}), task)
    tuning = None
    if tuned:
        other = _other_task(model, task)
        tuning = prepare(other.facts, base, resolve({}), other)
    return with_rows(model, request, tuning, many_facts(model, request) if growth else None)


def with_rows(model: LoadedModel, request: Prepared, tuning: Prepared | None, growth: Prepared | None) -> Material:
    """Return the material with the rows of the step figure chosen."""
    negatives = _of_length(model, request.made.negatives)
    return Material(request, tuning, negatives, _of_length(model, request.anchors)[: len(negatives)], growth)


def tokens(model: LoadedModel, rows: Sequence[Negative] | Sequence[Anchor]) -> int:
    """Return the tokens of rows, prompts and responses with their end of turn, without padding."""
    return sum(len(model.chat.encode(row.prompt, row.response).ids) for row in rows)


def _of_length(model: LoadedModel, rows: Sequence[_Row]) -> list[_Row]:
    """Return the rows whose length is nearest to ``ROW_TOKENS``."""
    return sorted(rows, key=lambda row: abs(tokens(model, [row]) - ROW_TOKENS))[:STEP_ROWS]


def _task(model: LoadedModel, seed: int) -> Task:
    options = {**world.SETTINGS, "split": "dev", "facts": FACTS, "seed": seed}
    return world.load(None, options, model)[0]


def _other_task(model: LoadedModel, task: Task) -> Task:
    """Return the first draw that shares no fact with ``task``."""
    taken = {fact.id for fact in task.facts}
    draws = (_task(model, seed) for seed in _SEEDS)
    return next(draw for draw in draws if not taken & {fact.id for fact in draw.facts})


def many_facts(model: LoadedModel, request: Prepared, *, most: int = GROWTH_FACTS[-1]) -> Prepared:
    """Return ``most`` facts of different subjects with negatives, and the anchors of ``request``.

    For time and memory it does not matter whether the model knows them, and they are drawn from both splits: nothing
    is asked and nothing chosen. The wrong answers are those of other facts of the relation.

    Raises:
        NegativesError: When too few facts have wrong answers enough.
    """
    facts, others = _with_alternates(read_world(), 2 * most)
    while True:
        facts = facts[:most]
        try:
            made = build_negatives(facts, model, resolve({}), {}, others)
        except NegativesError as error:
            lacking = {problem.partition(" (")[0] for problem in error.problems}
            facts = [fact for fact in _with_alternates(read_world(), 2 * most)[0] if fact.id not in lacking]
            if len(facts) < most:
                raise
            continue
        return replace(request, facts=facts, known=facts, made=made, dev=[], test=[], before={}, held_out=())


def _with_alternates(world_facts: Sequence[WorldFact], most: int) -> tuple[list[Fact], dict[str, list[str]]]:
    """Return facts of different subjects with wrong answers, dealt from all relations, and other subjects by fact."""
    chooser = random.Random("growth")
    relations: dict[str, list[WorldFact]] = {}
    for fact in world_facts:
        relations.setdefault(fact.relation, []).append(fact)
    facts: list[Fact] = []
    others: dict[str, list[str]] = {}
    taken: set[str] = set()
    for fact in chooser.sample(list(world_facts), len(world_facts)):
        beside = [each for each in relations[fact.relation] if each.subject != fact.subject]
        wrong = list(dict.fromkeys(each.answer for each in beside if each.answer not in fact.spellings))
        if fact.subject in taken or len(wrong) < ALTERNATES or len(facts) == most:
            continue
        taken.add(fact.subject)
        given = tuple(chooser.sample(wrong, ALTERNATES))
        facts.append(Fact(fact.id, fact.prompts[0], fact.answer, fact.subject, fact.aliases, negatives=given))
        others[fact.id] = [each.subject for each in chooser.sample(beside, min(8, len(beside)))]
    return facts, others


def first_facts(prepared: Prepared, count: int) -> Prepared:
    """Return ``prepared`` with its first ``count`` facts alone, so that every size holds the smaller ones."""
    facts = prepared.facts[:count]
    kept = {fact.id for fact in facts}
    made = NegativeSet(
        [negative for negative in prepared.made.negatives if negative.fact_id in kept],
        [],
        {name: texts for name, texts in prepared.made.alternates.items() if name in kept},
    )
    return replace(prepared, facts=facts, known=facts, made=made)


def store(material: Material, path: Path) -> None:
    """Write the material where the arms' processes read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".partial")
    staged.write_bytes(pickle.dumps(material))
    staged.replace(path)


def read(path: Path) -> Material:
    """Return what ``store`` wrote. Only files this benchmark wrote itself are read: pickles are code."""
    material = pickle.loads(path.read_bytes())
    if not isinstance(material, Material):
        raise TypeError(f"{path} holds no material of this benchmark; delete it")
    return material
