"""What stands around the forgotten facts: neighbours to measure, anchors to hold, other answers to learn from.

All of it is made from the request and the base model. Subjects of the same kind are dealt by a fixed hash into
three hands - test neighbours, dev neighbours, anchors. So nothing is scored about another subject that training held;
of a forgotten subject itself some relations are held and others scored.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lune.gazetteer import ask_about, entity_type, listed_type, members, other_relations, subject_type
from lune.language_model import LanguageModel
from lune.negatives.extract import short_answer
from lune.negatives.kinds import same_kind
from lune.probes.anchors import find_look_alikes, make_anchors
from lune.probes.hands import Hand, hand_of
from lune.probes.reserved import Reserved
from lune.probes.selection import known_and_consistent, plausible_type
from lune.records import Anchor, Fact, LookAlike, Neighbour, Probe
from lune.text import contains, is_refusal, normalise
from lune.wording import to_imperative, with_subject
from lune.world_facts import others_of_relation

SUBJECTS_PER_FACT: Mapping[Hand, int] = {"test": 14, "dev": 6, "anchor": 24}
"""Other subjects taken for each fact; inconsistent answers then drop out of test and dev."""
ASKED_FOR_EXAMPLES = 4
"""Test subjects asked about where only the in-context attack shows them, which takes what the model knows of them."""
ASKED_FOR_ALTERNATES = 16
"""Of the anchor hand, how many are asked the fact's own question, for alternates of the right type."""
BEST_KNOWN = 80
"""Subjects are drawn from this many of the best known of their kind: about the others there is little to damage."""
LONGEST_ANSWER = 4
"""Words of a neighbour's answer; a longer one is a description, which no later answer would repeat to the letter."""
NEIGHBOURS_PER_FACT: Mapping[Hand, int] = {"test": 8, "dev": 4, "anchor": 0}
SIMILAR_ASKED = 16


@dataclass
class Surroundings:
    """The neighbourhood of a request.

    Attributes:
        probes: Neighbour probes, dev and test.
        anchors: Prompts with the base model's own answers, to be held in training.
        other_answers: Short answers to each fact's question about other subjects, by fact id: of the right type by
            nature, so they serve as alternates.
        other_subjects: The subjects of the anchor hand, by fact id.
        look_alikes: Subjects of the anchor hand, and things of the answers' kind, each with a prompt it stands in.
        examples: Answered questions of the same relation by fact id and split, for the in-context attack.
    """

    probes: list[Probe] = field(default_factory=list)
    anchors: list[Anchor] = field(default_factory=list)
    other_answers: dict[str, list[str]] = field(default_factory=dict)
    other_subjects: dict[str, list[str]] = field(default_factory=dict)
    look_alikes: list[LookAlike] = field(default_factory=list)
    examples: dict[tuple[str, str], list[Neighbour]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Question:
    """One thing to ask the base model in several wordings."""

    fact: Fact
    subject: str
    relation: str
    hand: Hand
    wordings: tuple[str, ...]


def look_around(
    facts: Sequence[Fact],
    model: LanguageModel,
    *,
    anchors: int,
    seed: int,
    held_out: Sequence[str] = (),
    whole: Sequence[Fact] = (),
    test_neighbours: bool = True,
) -> Surroundings:
    """Ask the base model about the neighbourhood of ``facts`` and return what it says.

    Args:
        facts: The facts to forget, each with a subject.
        model: The base model.
        anchors: How many anchors to make.
        seed: Decides which subjects are asked about.
        held_out: Subjects that others test on: none becomes a neighbour, an anchor or the source of an alternate.
        whole: The whole request where ``facts`` are a part of it: the rest is not asked about, but avoided as well.
        test_neighbours: Whether test probes of neighbours are wanted; without, no more test subjects are asked about
            than the in-context attack shows.
    """
    reserved = Reserved(tuple(whole or facts))
    avoided = [*held_out, *(fact.subject or "" for fact in reserved.facts)]
    kind_of = {fact.id: subject_type(fact.prompt, fact.subject or "") for fact in facts}
    similar = _similar_subjects([fact for fact in facts if not kind_of[fact.id]], model, seed)
    questions: list[_Question] = []
    result = Surroundings()
    for fact in facts:
        kind = kind_of[fact.id]
        pool = list(members(kind)) if kind else similar[fact.id]
        others = _others(pool, {normalise(name) for name in avoided}, reserved, seed, fact)
        result.other_subjects[fact.id] = others["anchor"]
        questions += _same_relation(fact, others)
        questions += _other_relations(fact, kind)
    if not test_neighbours:
        questions = _without_test_neighbours(questions)
    answers = _ask(model, [question.wordings[0] for question in questions])
    # Another wording is worth asking only where the first was answered by something that a neighbour can be.
    hopeful = [each for each in questions if _short_answer(each, answers[each.wordings[0]])]
    answers |= _ask(model, [wording for each in hopeful for wording in each.wordings[1:]])
    for question in hopeful:
        _sort_in(question, [answers[wording] for wording in question.wordings], result, reserved)
    result.probes = [*given_neighbours(reserved.facts), *_capped(result.probes)]
    result.anchors = make_anchors(
        facts, kind_of, result.other_subjects, model, wanted=anchors, seed=seed, avoided=avoided, reserved=reserved
    )
    alike = find_look_alikes(facts, kind_of, result.other_subjects, seed, avoided)
    result.look_alikes = [each for each in alike if not reserved.names(each.name) and reserved.allows(each.prompt)]
    return result


def _without_test_neighbours(questions: Sequence[_Question]) -> list[_Question]:
    shown: Counter[str] = Counter()
    kept = []
    for question in questions:
        if question.hand == "test":
            shown[question.fact.id] += 1
            if question.relation == "other" or shown[question.fact.id] > ASKED_FOR_EXAMPLES:
                continue
        kept.append(question)
    return kept


def _others(pool: Sequence[str], avoided: set[str], reserved: Reserved, seed: int, fact: Fact) -> dict[Hand, list[str]]:
    hands: dict[Hand, list[str]] = {"test": [], "dev": [], "anchor": []}
    chooser = random.Random(f"{seed}-{fact.id}")
    head = pool[:BEST_KNOWN]
    for other in chooser.sample(head, len(head)):
        hand = hand_of(other)
        # Neighbours that the requester gave are their yardstick: nothing about their subjects is trained.
        clash = reserved.names(other) or (
            contains(other, [fact.subject or ""]) or contains(fact.prompt, [other]) or contains(other, fact.spellings)
        )
        if normalise(other) not in avoided and not clash and len(hands[hand]) < SUBJECTS_PER_FACT[hand]:
            hands[hand].append(other)
    return hands


def _same_relation(fact: Fact, others: Mapping[Hand, Sequence[str]]) -> Iterable[_Question]:
    for hand, subjects in others.items():
        for other in subjects[:ASKED_FOR_ALTERNATES] if hand == "anchor" else subjects:
            prompt = with_subject(fact.prompt, fact.subject or "", other)
            yield _Question(fact, other, "same", hand, (prompt,) if hand == "anchor" else _wordings(prompt))


def _other_relations(fact: Fact, kind: str | None) -> Iterable[_Question]:
    # What a model tells of a thing of guessed type is a guess as well, however often it repeats it.
    for template in other_relations(kind) if kind and listed_type(fact.subject or "") else ():
        prompt = ask_about(template, fact.subject or "")
        if normalise(prompt) != normalise(fact.prompt) and hand_of(template) != "anchor":
            yield _Question(fact, fact.subject or "", "other", hand_of(template), _wordings(prompt))


def _wordings(prompt: str) -> tuple[str, str]:
    """Return the two wordings in which a neighbour must get the same answer."""
    return prompt, to_imperative(prompt) or f"Please answer this: {prompt}"


def _ask(model: LanguageModel, prompts: Iterable[str]) -> dict[str, str]:
    distinct = list(dict.fromkeys(prompts))
    return dict(zip(distinct, model.answer(distinct), strict=True))


def _short_answer(question: _Question, answer: str) -> str | None:
    """Return the few words that answer the question, None where it has none or they hold the forgotten answer."""
    short = short_answer(question.wordings[0], answer)
    if not short or len(short.split()) > LONGEST_ANSWER or is_refusal(answer):
        return None
    return None if contains(short, question.fact.spellings) else short


def _sort_in(question: _Question, answers: Sequence[str], result: Surroundings, reserved: Reserved) -> None:
    """File one question's answers: as an alternate, and as a neighbour probe when the model is consistent."""
    fact, prompt = question.fact, question.wordings[0]
    short = _short_answer(question, answers[0])
    if short is None:
        return
    if question.hand == "anchor":
        # Answers about test and dev subjects would be trained as wrong answers, and bend what is measured.
        result.other_answers.setdefault(fact.id, []).append(short)
    if question.hand == "anchor" or not known_and_consistent(prompt, short, answers):
        return
    if not reserved.allows(prompt) or reserved.forgotten(question.subject, short):
        return
    if question.relation == "same" and same_kind(fact.answer, short, prompt):
        return
    if not plausible_type(prompt, short):
        return
    probe = Probe(
        id=f"{fact.id}-{question.relation}-{normalise(question.subject if question.relation == 'same' else prompt)}",
        kind="neighbour",
        prompt=prompt,
        expected=(short,),
        split=question.hand,
        fact_id=fact.id,
        subject=question.subject,
        relation=question.relation,
    )
    result.probes.append(probe)
    if question.relation == "same":
        result.examples.setdefault((fact.id, question.hand), []).append(Neighbour(prompt, short))


def _capped(probes: Sequence[Probe]) -> list[Probe]:
    """Keep at most so many same-relation neighbours a fact and split, and one probe for each prompt."""
    counts: dict[tuple[str | None, str | None, str], int] = {}
    seen: set[str] = set()
    kept = []
    for probe in probes:
        key = (probe.fact_id, probe.relation, probe.split)
        if probe.prompt in seen or counts.get(key, 0) >= NEIGHBOURS_PER_FACT[probe.split]:
            continue
        seen.add(probe.prompt)
        counts[key] = counts.get(key, 0) + 1
        kept.append(probe)
    return kept


def given_neighbours(facts: Sequence[Fact]) -> list[Probe]:
    """Return the neighbours given in the request; all are test probes, since they are the requester's own yardstick."""
    return [
        Probe(
            id=f"{fact.id}-given-{number}",
            kind="neighbour",
            prompt=neighbour.prompt,
            expected=(neighbour.answer, *neighbour.aliases),
            split="test",
            fact_id=fact.id,
            relation="given",
        )
        for fact in facts
        for number, neighbour in enumerate(fact.neighbours, 1)
    ]


def _similar_subjects(facts: Sequence[Fact], model: LanguageModel, seed: int) -> dict[str, list[str]]:
    """Return things like each subject, for subjects of a kind that no shipped list knows.

    Where the shipped facts are asked for in the same words, their subjects are taken; else the base model is asked.
    """
    result = {fact.id: list(others_of_relation(fact.prompt, fact.subject or "")) for fact in facts}
    unknown = [fact for fact in facts if not result[fact.id]]
    prompt_of = {
        fact.id: f"Name one thing of the same kind as {fact.subject}. Answer with its name only." for fact in unknown
    }
    prompts = list(dict.fromkeys(prompt_of.values()))  # facts often share their subject
    sampled = model.sample(prompts, count=SIMILAR_ASKED, seed=seed, max_new_tokens=12) if prompts else []
    said = dict(zip(prompts, sampled, strict=True))
    for fact in unknown:
        prompt = prompt_of[fact.id]
        # A small model invents names as gladly as it recalls them; those that a shipped list knows exist.
        names = (short_answer(prompt, text) for text in said[prompt])
        result[fact.id] = list(dict.fromkeys(name for name in names if name and entity_type(name)))
    return result
