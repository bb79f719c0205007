"""What training holds, and what keys must tell apart: other subjects, other relations, ordinary text.

None of them is asked about what is measured: they are of the anchor hand (``lune.probes.hands``), and none asks for a
forgotten fact or a neighbour that the request gives.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import zip_longest
from typing import TypeVar

from lune.gazetteer import ask_about, entity_type, kinds, members, other_relations
from lune.language_model import LanguageModel
from lune.negatives.forms import training_forms
from lune.probes.general import asks_for, general_probes, ordinary_questions
from lune.probes.hands import hand_of
from lune.probes.reserved import Reserved
from lune.records import Anchor, Fact, LookAlike, Split
from lune.text import contains, is_degenerate, normalise
from lune.wording import named_in, with_subject

Item = TypeVar("Item")
OTHER_WORDINGS = ("{}", "Answer briefly. {}", "As an expert, answer this: {}", "Question: {}\nAnswer:")
"""Wordings of an anchor about another relation of a forgotten subject; as in the training forms."""
SPLITS: tuple[Split, ...] = ("dev", "test")
LOOK_ALIKES = 100
"""Of each kind, how many of the best known are told apart from the forgotten subjects; a third of them is free."""
ANCHOR_SHARES = {"same": 0.35, "other": 0.25, "generic": 0.40}
"""Anchors by kind: same relation of other subjects, other relations of the forgotten, any relation of anything.

Questions of the same shape about other subjects are hit most by forgetting (arXiv 2502.11441), so most are of it.
"""
ANCHOR_TOKENS = 12
"""Length of an anchor's response: what a fact is lies in the first words, and every token costs training time."""


def make_anchors(
    facts: Sequence[Fact],
    kind_of: Mapping[str, str | None],
    other_subjects: Mapping[str, Sequence[str]],
    model: LanguageModel,
    *,
    wanted: int,
    seed: int,
    avoided: Sequence[str],
    reserved: Reserved,
) -> list[Anchor]:
    """Return ``wanted`` questions with the base model's own answers, fewer where answers are of no use.

    Args:
        facts: The facts to forget.
        kind_of: The kind of each fact's subject, by fact id.
        other_subjects: Subjects of the anchor hand, by fact id.
        model: The base model.
        wanted: How many to ask.
        seed: Decides which.
        avoided: Names that no generic question may hold.
        reserved: What the request keeps for itself.
    """
    chooser = random.Random(seed)
    same = _dealt_evenly([_same_anchors(fact, other_subjects[fact.id], chooser) for fact in facts])
    other = _dealt_evenly([_other_anchors(fact, kind_of[fact.id]) for fact in facts])
    chosen = same[: round(wanted * ANCHOR_SHARES["same"])] + other[: round(wanted * ANCHOR_SHARES["other"])]
    # What a request cannot fill, generic questions do.
    chosen = [row for row in chosen if reserved.allows(row[0])]
    questions = [
        question
        for question, answer in ordinary_questions()
        if not contains(question, avoided)
        and not asks_for(reserved.facts, question, (answer,))
        and reserved.allows(question)
    ]
    chosen += [(question, question, "generic") for question in questions[: (wanted - len(chosen)) // 2]]
    while len(chosen) < wanted:
        anchor = _generic_anchor(avoided, chooser)
        if not reserved.names(anchor[1]):
            chosen.append(anchor)
    prompts = list(dict.fromkeys(prompt for prompt, _, _ in chosen))
    answers = dict(zip(prompts, model.answer(prompts, max_new_tokens=ANCHOR_TOKENS), strict=True))
    spellings = [spelling for fact in reserved.facts for spelling in fact.spellings]
    result = []
    for prompt, subject, relation in dict.fromkeys(chosen):
        answer = answers[prompt]
        # An anchor must not hold the very thing that is to go, nor teach a broken answer.
        if not is_degenerate(answer) and not (relation != "generic" and contains(answer, spellings)):
            result.append(Anchor(prompt, answer, subject, relation))
    return result


def _same_anchors(fact: Fact, others: Sequence[str], chooser: random.Random) -> list[tuple[str, str, str]]:
    """Return every anchor subject in every training form of the fact, subjects first in a random form each."""
    forms = [form.prompt for form in training_forms(fact, ()) if fact.subject and fact.subject in form.prompt]
    columns = []
    for other in others:
        prompts = [with_subject(form, fact.subject or "", other) for form in forms]
        clean = [prompt for prompt in prompts if not contains(prompt, fact.spellings)]
        columns.append([(prompt, other, "same") for prompt in chooser.sample(clean, len(clean))])
    return _dealt_evenly(columns)


def _other_anchors(fact: Fact, kind: str | None) -> list[tuple[str, str, str]]:
    subject = fact.subject or ""
    templates = [template for template in other_relations(kind) if hand_of(template) == "anchor"] if kind else []
    named = named_in(fact.prompt, subject)
    plain = [
        *(ask_about(template, subject) for template in templates),
        f"Tell me about {named}.",
        f"What is {named} known for?",
    ]
    # First every question as it is, then each in other wordings: what keeps it apart from the forgotten one is what
    # it asks for, not how.
    prompts = [form.format(prompt) for form in OTHER_WORDINGS for prompt in plain]
    return [(prompt, subject, "other") for prompt in prompts if normalise(prompt) != normalise(fact.prompt)]


def find_look_alikes(
    facts: Sequence[Fact],
    kind_of: Mapping[str, str | None],
    known: Mapping[str, Sequence[str]],
    seed: int,
    names: Sequence[str],
) -> list[LookAlike]:
    """Return subjects, and things like the answers, that keys must tell from the forgotten ones."""
    chooser = random.Random(seed)
    avoided = [text for text in (*names, *(each for fact in facts for each in fact.spellings)) if text]
    found: dict[tuple[str, str], None] = {}
    for fact in facts:
        kind, answer_kind = kind_of[fact.id], entity_type(fact.answer)
        forms = [form.prompt for form in training_forms(fact, ()) if fact.subject and fact.subject in form.prompt]
        for other in members(kind)[:LOOK_ALIKES] if kind else known[fact.id]:
            prompts = [other, *(with_subject(form, fact.subject or "", other) for form in chooser.sample(forms, 1))]
            found |= dict.fromkeys((other, prompt) for prompt in prompts)
        found |= dict.fromkeys((other, other) for other in (members(answer_kind)[:LOOK_ALIKES] if answer_kind else ()))
    return [
        LookAlike(other, prompt)
        for other, prompt in found
        if hand_of(other) == "anchor" and not contains(other, avoided) and not contains(prompt, avoided)
    ]


def answered_look_alikes(alike: Sequence[LookAlike], model: LanguageModel) -> list[LookAlike]:
    """Return the look-alikes, those that stand in a question with the base model's answer, as long as an anchor's.

    What the answer is does not matter here, even where it is the forgotten one: "Italy" may still be said of pizza.
    """
    asked = list(dict.fromkeys(each.prompt for each in alike if each.prompt != each.name))
    said = dict(zip(asked, model.answer(asked, max_new_tokens=ANCHOR_TOKENS), strict=True))
    return [replace(each, response=said.get(each.prompt, "")) for each in alike]


def ordinary_texts(avoided: Sequence[str], count: int, seed: int) -> list[tuple[str, str | None]]:
    """Return ordinary text for second moments: questions about all but the avoided, some with their answers."""
    chooser = random.Random(seed)
    told: list[tuple[str, str | None]] = [
        (question, answer) for question, answer in ordinary_questions() if not contains(question, avoided)
    ]
    return told + [(_generic_anchor(avoided, chooser)[0], None) for _ in range(count - len(told))]


def _generic_anchor(avoided: Sequence[str], chooser: random.Random) -> tuple[str, str, str]:
    while True:
        kind = chooser.choice(kinds())
        subject, template = chooser.choice(members(kind)), chooser.choice(other_relations(kind))
        prompt = ask_about(template, subject)
        measured = normalise(prompt) in _measured()
        if hand_of(subject) == "anchor" and not measured and not contains(subject, avoided):
            return prompt, subject, "generic"


@lru_cache(maxsize=1)
def _measured() -> frozenset[str]:
    """Return the general questions that are asked to measure."""
    return frozenset(normalise(probe.prompt) for split in SPLITS for probe in general_probes(split))


def _dealt_evenly(columns: Sequence[Sequence[Item]]) -> list[Item]:
    """Return the items of all columns, first of each, then second of each, and so on."""
    missing = object()
    rounds = zip_longest(*columns, fillvalue=missing)
    return [item for each in rounds for item in each if item is not missing]  # type: ignore[misc]
