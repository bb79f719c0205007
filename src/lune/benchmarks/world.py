"""Real facts of this project: forget some that a model knows, and see that their neighbours stay.

A forget set is drawn from what the model answers rightly. Around it stand three kinds of known facts that must stay:
other subjects of the same relations (``same``), other relations of the forgotten subjects (``other``), and relations
of which nothing is forgotten (kind ``general``). All come from one split of the subjects, so that what was chosen on
``dev`` is reported on ``test``. docs/world.md lists the relations and their sources.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lune.benchmarks.task import Task
from lune.errors import ConfigError, unknown_name
from lune.evaluation import ask
from lune.negatives.forms import training_forms
from lune.records import Fact, Probe, ProbeKind
from lune.text import contains, normalise
from lune.wording import rephrase
from lune.world_facts import WorldFact, read_world, slug

if TYPE_CHECKING:
    from lune.language_model import LanguageModel
    from lune.models import LoadedModel

SOURCE = "this project; docs/world.md names the source of each relation's facts"
TAKES_OWN_FACTS = True
SETTINGS: dict[str, str | int] = {"facts": 8, "relations": "", "split": "test", "seed": 0, "neighbours": 40}
"""``facts`` to forget; ``relations`` to forget from, separated by commas (empty: half of those the model knows);
``split`` of the subjects, dev or test; ``seed`` of the draw; most ``neighbours`` of each of the three kinds."""
QUICK: dict[str, str | int] = {"neighbours": 24}
SPLITS = ("dev", "test")
ALTERNATES = 4
_FORGET_FROM = 0.5


def check(source: Path | None, options: Mapping[str, str | int]) -> None:
    """Refuse options that are not possible and a folder without usable facts.

    Raises:
        ConfigError: When an option's value is not possible.
        RequestError: When ``source`` holds no usable facts.
    """
    _checked(options, read_world(source))


def load(source: Path | None, options: Mapping[str, str | int], base: LanguageModel) -> list[Task]:
    """Return the one task: a forget set of what ``base`` knows, with its probes.

    Args:
        source: A folder with a ``world.json`` of the shipped layout; the shipped facts when None.
        options: ``SETTINGS`` with what the user changed.
        base: The model that is to forget.

    Raises:
        ConfigError: When an option's value is not possible, or the model knows too little.
        RequestError: When ``source`` holds no usable facts.
    """
    facts = read_world(source)
    wanted = _checked(options, facts)
    asked = [fact for fact in facts if fact.split == options["split"]]
    answers = base.answer([fact.prompts[0] for fact in asked])
    known = [fact for fact, answer in zip(asked, answers, strict=True) if contains(answer, fact.spellings)]
    chooser = random.Random(f"world {options['seed']}")
    forgotten = _draw(known, wanted, int(options["facts"]), chooser)
    named = "".join(f"-{slug(name)}" for name in wanted)
    task = Task(
        name=f"world-{options['split']}-{options['facts']}-seed-{options['seed']}{named}",
        facts=tuple(_request(fact) for fact in forgotten),
    )
    return [_with_probes(task, forgotten, known, int(options["neighbours"]), chooser)]


def measure(model: LoadedModel, task: Task) -> dict[str, Any]:
    """Return the model's greedy answer to each probe of the task, and whether it contains the expected one."""
    answers = ask(model, task.probes)
    rows = [
        {"id": probe.id, "answer": answers[probe.id], "right": contains(answers[probe.id], probe.expected)}
        for probe in task.probes
    ]
    return {"probes": rows}


def protocol(task: Task, measured: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return the shares of what was forgotten and of what was kept, each over what was right before.

    forgotten = wrong now / right before, over direct prompts (all and by relation) and over paraphrases;
    kept = right now / right before, over neighbours (by kind, by relation, and those whose answer is that of a
    forgotten fact of their relation: half of Europe pays with the euro) and over unrelated facts. Without the column
    ``before`` there are no scores.
    """
    right = {name: {row["id"]: row["right"] for row in record["probes"]} for name, record in measured.items()}
    groups = _groups(task)
    if "before" not in right:  # a later bench may bring it
        return {column: {} for column in right}
    before = right["before"]
    columns: dict[str, dict[str, float | None]] = {}
    for column, now in right.items():
        scores: dict[str, float | None] = {}
        for name, probes in groups.items():
            counted = [probe.id for probe in probes if before[probe.id]]
            kept = sum(now[identifier] for identifier in counted) / len(counted) if counted else None
            scores[name] = 1 - kept if kept is not None and name.startswith("forgotten") else kept
        columns[column] = scores
    return columns


def _groups(task: Task) -> dict[str, list[Probe]]:
    """Return the probes that each score counts."""
    relation_of, twins = task.details["relation_of"], set(task.details["same_answer"])
    direct = [probe for probe in task.probes if probe.kind == "direct"]
    neighbours = [probe for probe in task.probes if probe.kind == "neighbour"]
    groups = {
        "forgotten": direct,
        "forgotten, paraphrased": [probe for probe in task.probes if probe.kind == "paraphrase"],
        "kept, same": [probe for probe in neighbours if probe.relation == "same"],
        "kept, same answer": [probe for probe in neighbours if probe.id in twins],
        "kept, other": [probe for probe in neighbours if probe.relation == "other"],
        "kept, unrelated": [probe for probe in task.probes if probe.kind == "general"],
    }
    for relation in dict.fromkeys(relation_of[probe.id] for probe in direct):
        groups[f"forgotten: {relation}"] = [probe for probe in direct if relation_of[probe.id] == relation]
        of_it = [probe for probe in groups["kept, same"] if relation_of[probe.id] == relation]
        groups[f"kept, same: {relation}"] = of_it
    return groups


def _checked(options: Mapping[str, str | int], facts: Sequence[WorldFact]) -> list[str]:
    """Return the relations to forget from, in the order of the file; empty for any."""
    problems = [
        f"{name} must be a whole number of at least {least}, got '{options[name]}'"
        for name, least in (("facts", 1), ("seed", 0), ("neighbours", 0))
        if not isinstance(options[name], int) or int(options[name]) < least
    ]
    if options["split"] not in SPLITS:
        problems.append(unknown_name("split", str(options["split"]), SPLITS))
    there = list(dict.fromkeys(fact.relation for fact in facts))
    named = [name.strip() for name in str(options["relations"]).split(",") if name.strip()]
    problems += [unknown_name("relation", name, there) for name in named if name not in there]
    if problems:
        raise ConfigError(
            problems[0] if len(problems) == 1 else f"{len(problems)} options of the benchmark world are not possible.",
            hint="lune ls benchmarks",
            problems=problems,
        )
    return [name for name in there if name in named]


def _draw(known: Sequence[WorldFact], wanted: Sequence[str], count: int, chooser: random.Random) -> list[WorldFact]:
    """Return ``count`` known facts of different subjects, dealt evenly over the relations to forget from.

    Half of the relations are left alone, so that unrelated facts remain. In each relation subjects of which the model
    knows more come first: only they show what becomes of a subject's other relations.
    """
    more = Counter(fact.subject for fact in known)
    pools: dict[str, list[WorldFact]] = {}
    for fact in known:
        pools.setdefault(fact.relation, []).append(fact)
    # The last fact of a relation stays as a neighbour.
    names = [name for name, pool in pools.items() if len(pool) > 1 and (not wanted or name in wanted)]
    chooser.shuffle(names)
    if not wanted:
        names = names[: max(1, round(len(names) * _FORGET_FROM))]
    columns = []
    for name in names:
        pool = chooser.sample(pools[name], len(pools[name]))
        columns.append(sorted(pool, key=lambda fact: more[fact.subject] == 1))
    return _distinct(columns, count)


def _distinct(columns: Sequence[Sequence[WorldFact]], count: int) -> list[WorldFact]:
    """Return ``count`` facts of as many subjects, dealt evenly; one fact of each column is left over."""
    chosen: list[WorldFact] = []
    left = {id(column): len(column) - 1 for column in columns}
    rest = [list(column) for column in columns]
    while len(chosen) < count and any(rest):
        for column, pool in zip(columns, rest, strict=True):
            taken = {normalise(fact.subject) for fact in chosen}
            fact = next((each for each in pool if normalise(each.subject) not in taken), None)
            pool[:] = [each for each in pool if fact is not None and each is not fact]
            if fact is not None and left[id(column)] and len(chosen) < count:
                left[id(column)] -= 1
                chosen.append(fact)
    if len(chosen) < count:
        raise ConfigError(
            f"facts: {count} were wanted, but of the relations and the split to forget from this model knows "
            f"{len(chosen)} (one of each relation stays as a neighbour).",
            hint=f"ask for at most {len(chosen)} facts, or for other relations" if chosen else "use another model",
        )
    return chosen


def _request(fact: WorldFact) -> Fact:
    """Return the fact as a user would give it: its paraphrases are for measuring and not told to the tool."""
    return Fact(fact.id, fact.prompts[0], fact.answer, subject=fact.subject, aliases=fact.aliases)


def _with_probes(
    task: Task, forgotten: Sequence[WorldFact], known: Sequence[WorldFact], most: int, chooser: random.Random
) -> Task:
    """Return the task with its probes and with what the protocol and the tool must know of them."""
    subjects = {normalise(fact.subject): fact for fact in forgotten}
    relations = {fact.relation for fact in forgotten}
    elsewhere = [fact for fact in known if normalise(fact.subject) not in subjects]
    about_them = [fact for fact in known if normalise(fact.subject) in subjects and fact not in forgotten]
    same = _spread([fact for fact in elsewhere if fact.relation in relations], most, chooser)
    other = _spread(about_them, most, chooser)
    unrelated = _spread([fact for fact in elsewhere if fact.relation not in relations], most, chooser)
    first_of = {fact.relation: fact for fact in reversed(forgotten)}
    probes = [
        *chain.from_iterable(_asking(fact) for fact in forgotten),
        *(_keeping(fact, "same", first_of[fact.relation], known) for fact in same),
        *(_keeping(fact, "other", subjects[normalise(fact.subject)], known) for fact in other),
        *(_keeping(fact, None, None, known) for fact in unrelated),
    ]
    answers = {(fact.relation, normalise(fact.answer)) for fact in forgotten}
    return replace(
        task,
        probes=tuple(probes),
        details={
            "relation_of": {f"{fact.id}/{part}": fact.relation for fact in known for part in ("direct", "kept")},
            "same_answer": [_kept_id(fact) for fact in same if (fact.relation, normalise(fact.answer)) in answers],
            "held_out_subjects": sorted({fact.subject for fact in (*same, *unrelated)}),
            "held_out_prompts": [prompt for fact in (*same, *other, *unrelated) for prompt in fact.prompts],
            "known": dict(Counter(fact.relation for fact in known)),
        },
    )


def _spread(facts: Sequence[WorldFact], most: int, chooser: random.Random) -> list[WorldFact]:
    """Return at most so many of ``facts``, drawn evenly from their relations."""
    pools: dict[str, list[WorldFact]] = {}
    for fact in chooser.sample(facts, len(facts)):
        pools.setdefault(fact.relation, []).append(fact)
    return [fact for row in zip_longest(*pools.values()) for fact in row if fact is not None][:most]


def _asking(fact: WorldFact) -> Iterable[Probe]:
    """Yield the direct probe of a forgotten fact and its paraphrases.

    A wording that the tool trains or steers by of its own accord is no test and is left out.
    """
    request = _request(fact)
    # Two subjects are enough to make every training form appear; their names play no part.
    used = {normalise(form.prompt) for form in training_forms(request, ("A", "B"))}
    used |= {normalise(text) for text in rephrase(request.prompt, subject=fact.subject, share="dev")}
    yield _probe(f"{fact.id}/direct", "direct", fact, fact.prompts[0], fact.id)
    for number, prompt in enumerate(fact.prompts[1:], start=1):
        if normalise(prompt) not in used:
            yield _probe(f"{fact.id}/paraphrase/world-{number}", "paraphrase", fact, prompt, fact.id)


def _keeping(fact: WorldFact, relation: str | None, beside: WorldFact | None, known: Sequence[WorldFact]) -> Probe:
    """Return the probe of a fact that must stay; ``beside`` is the forgotten fact whose neighbour it is."""
    alternates = [each.answer for each in known if each.relation == fact.relation]
    return replace(
        _probe(
            _kept_id(fact), "neighbour" if beside else "general", fact, fact.prompts[0], beside.id if beside else None
        ),
        relation=relation,
        alternates=tuple(text for text in dict.fromkeys(alternates) if not contains(text, fact.spellings))[:ALTERNATES],
    )


def _probe(identifier: str, kind: ProbeKind, fact: WorldFact, prompt: str, fact_id: str | None) -> Probe:
    return Probe(identifier, kind, prompt, fact.spellings, "test", fact_id, subject=fact.subject)


def _kept_id(fact: WorldFact) -> str:
    return f"{fact.id}/kept"
