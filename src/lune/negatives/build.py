"""Negative examples for a request: alternates proposed, checked, and spread over the prompt forms."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from lune.errors import NegativesError
from lune.gazetteer import entity_type, members, subject_type
from lune.language_model import LanguageModel
from lune.negatives.endpoint import Endpoint
from lune.negatives.fallback import from_kind
from lune.negatives.forms import Form, training_forms
from lune.negatives.propose import Candidate, from_model, from_other_answers, from_relation, from_request
from lune.negatives.styles import WAIVED, propose_style, respond
from lune.negatives.validate import Accepted, Validator
from lune.records import Fact, Negative, Rejected
from lune.settings import ForgetSettings, NegativesStyle
from lune.text import contains, normalise
from lune.wording import response_for

MIN_ALTERNATES = 4
# LUNE App. B.3 balances the negatives so that no question form and no subject dominates the gradient: each form of a
# fact is used equally often, and the facts of one subject share this many negatives.
MAX_PER_SUBJECT = 64
PAIRS_PER_FORM = 2
HELD_OUT = 4
"""Valid alternates of a fact that are never trained: what membership inference compares its answer with."""
_SAMPLES = 8  # a fact, source and round
_TEMPERATURE = 0.7  # above it a small model soon writes nonsense
_REPAIR_TEMPERATURE = 1.0
_ENDPOINT_SURPLUS = 2  # asked for beyond what is wanted, since some will not pass
_MAX_REASONS = 3


@dataclass(frozen=True)
class NegativeSet:
    """The negatives of a request.

    Attributes:
        negatives: Training examples, facts in the order of the request.
        rejected: Alternates that were proposed and failed a check, with the check and why.
        alternates: Short wrong answers to train on by fact id, best source first.
        held_out: Others by fact id, as valid, which are trained for no fact; up to four each.
    """

    negatives: list[Negative]
    rejected: list[Rejected]
    alternates: dict[str, list[str]]
    held_out: dict[str, list[str]] = field(default_factory=dict)


def build_negatives(
    facts: Sequence[Fact],
    model: LanguageModel,
    settings: ForgetSettings,
    other_answers: Mapping[str, Sequence[str]],
    other_subjects: Mapping[str, Sequence[str]],
    *,
    leave_out: bool = False,
) -> NegativeSet:
    """Return validated negatives: at least four alternates a fact, in at least six prompt forms; and some held out.

    Args:
        facts: The facts to forget.
        model: The base model; it is asked in a few big batches, and only for facts that need more alternates.
        settings: The style, how many alternates are wanted, the endpoint and the seed.
        other_answers: The base model's short answers to each fact's question about other subjects, by fact id.
        other_subjects: Subjects that stand in for a fact's own where it is asked backwards, by fact id.
        leave_out: Whether facts with too few valid alternates are left out as long as others remain. A benchmark's
            forget set is nobody's to mend: what cannot be trained of it stays known, and is scored as such.

    Raises:
        NegativesError: When facts are left with fewer than four valid alternates; it lists all of them.
        ConfigError: When the endpoint cannot be used as given.
        ModelError: When the endpoint fails.
    """
    style = settings.negatives_style
    wanted, plain = settings.negatives_per_fact, style == NegativesStyle.ALTERNATIVE
    beyond = 2 * HELD_OUT  # some turn out to be trained for another fact
    validator = Validator(facts, model, _response, most=wanted, spare=beyond if plain else 0, waived=WAIVED[style])
    spare = validator if plain else Validator(facts, model, _response, most=0, spare=beyond)
    if plain:
        _collect(facts, model, settings, other_answers, validator)
    else:
        spare.add(list(from_other_answers(facts, other_answers, settings.seed)))
        count = 2 * settings.negatives_per_fact
        validator.add(list(propose_style(facts, style, count=count, seed=settings.seed)))
    lacking = validator.lacking(MIN_ALTERNATES)
    if lacking and (not leave_out or len(lacking) == len(facts)):
        raise _too_few(lacking, validator)
    facts = [fact for fact in facts if fact not in lacking]
    trained = {fact.id: validator.accepted[fact.id][:wanted] for fact in facts}
    rejected = list(validator.rejected)
    held_out = _hold_out(facts, spare, trained, settings.seed)
    shares = _shares(facts)
    negatives: list[Negative] = []
    for fact in facts:
        others = other_subjects.get(fact.id, ())
        negatives += _spread(
            fact,
            training_forms(fact, others),
            answers=trained[fact.id],
            subjects=_other_subjects(fact, others, settings.negatives_per_fact),
            style=style,
            most=shares[fact.id],
            seed=settings.seed,
        )
    alternates = {fact_id: [one.alternate for one in accepted] for fact_id, accepted in trained.items()}
    return NegativeSet(negatives, rejected, alternates, held_out)


def _response(fact: Fact, alternate: str) -> str:
    return response_for(fact.prompt, alternate, subject=fact.subject)


def _hold_out(
    facts: Sequence[Fact], spare: Validator, trained: Mapping[str, Sequence[Accepted]], seed: int
) -> dict[str, list[str]]:
    """Return up to ``HELD_OUT`` valid alternates of each fact that no fact is trained on, and no fact's answer is.

    They are what was accepted beyond the trained ones and, where that is too little, further ones of the answer's kind,
    so that nothing is taken away from training.
    """
    used = {normalise(one.alternate) for accepted in trained.values() for one in accepted}
    used |= {normalise(spelling) for fact in facts for spelling in fact.spellings}

    def free(fact: Fact) -> list[str]:
        found = [one.alternate for one in spare.accepted[fact.id] if normalise(one.alternate) not in used]
        return found[:HELD_OUT]

    lacking = [fact for fact in facts if len(free(fact)) < HELD_OUT]
    if lacking:
        spare.add([one for one in from_kind(lacking, count=2 * HELD_OUT, seed=seed) if normalise(one[1]) not in used])
    return {fact.id: free(fact) for fact in facts}


def _collect(
    facts: Sequence[Fact],
    model: LanguageModel,
    settings: ForgetSettings,
    other_answers: Mapping[str, Sequence[str]],
    validator: Validator,
) -> None:
    """Ask source after source until every fact has what is wanted; each round is scored in one call."""
    seed, wanted = settings.seed, settings.negatives_per_fact
    validator.add([*from_request(facts), *from_relation(facts, seed), *from_other_answers(facts, other_answers, seed)])

    lacking = validator.lacking(wanted)
    if lacking:
        validator.add(list(_sampled(lacking, model, _SAMPLES, seed, _TEMPERATURE)))
    lacking = validator.lacking(MIN_ALTERNATES)
    if lacking:
        validator.add(list(_sampled(lacking, model, _SAMPLES, seed + 1, _REPAIR_TEMPERATURE)))
    lacking = validator.lacking(wanted)
    if lacking and settings.negatives_endpoint:
        # Last, and only for what is lacking: prompts and true answers leave the machine.
        endpoint = Endpoint(settings.negatives_endpoint, settings.negatives_endpoint_model)
        validator.add(list(endpoint.propose(lacking, count=wanted + _ENDPOINT_SURPLUS)))
    lacking = validator.lacking(MIN_ALTERNATES)
    if lacking:
        validator.add(list(from_kind(lacking, count=2 * wanted, seed=seed)))


def _sampled(
    facts: Sequence[Fact], model: LanguageModel, count: int, seed: int, temperature: float
) -> Iterator[Candidate]:
    for unaware in (False, True):
        yield from from_model(facts, model, count=count, seed=seed, temperature=temperature, unaware=unaware)


def _shares(facts: Sequence[Fact]) -> dict[str, int]:
    """Return how many negatives each fact may have, so that no subject gets more than its cap."""
    subjects = {fact.id: normalise(fact.subject or fact.prompt) for fact in facts}
    held = list(subjects.values())
    return {fact_id: MAX_PER_SUBJECT // held.count(subject) for fact_id, subject in subjects.items()}


def _other_subjects(fact: Fact, others: Sequence[str], most: int) -> list[Accepted]:
    """Return the wrong subjects for the reversed question: of the subject's type, and naming neither it nor its answer.

    Of a subject of no known type only that it is no person is known.
    """
    own = [*fact.spellings, *([fact.subject] if fact.subject else [])]
    kind = subject_type(fact.prompt, fact.subject or "")
    fitting = [other for other in dict.fromkeys(others) if not contains(other, own) and _of_type(other, kind)]
    return [Accepted(other, "relation", ("not-the-answer",)) for other in fitting[:most]]


def _of_type(other: str, kind: str | None) -> bool:
    got = entity_type(other) or ""
    person = got.startswith("person")
    if kind is None or kind.startswith("person"):
        return person == (kind is not None)
    return got == kind or other in members(kind)


def _spread(
    fact: Fact,
    forms: Sequence[Form],
    *,
    answers: Sequence[Accepted],
    subjects: Sequence[Accepted],
    style: NegativesStyle,
    most: int,
    seed: int,
) -> list[Negative]:
    """Pair forms and alternates so that each form is used equally often and each alternate about so.

    Every form is used at least once even where the subject's cap is smaller: forms carry the forgetting to other
    wordings, and a fact in one form alone is not forgotten.
    """
    rng = random.Random(f"{seed} {fact.id} spread")
    order = rng.sample(answers, len(answers))
    rounds = max(PAIRS_PER_FORM, -(-len(order) // len(forms)))
    rounds = max(1, min(rounds, most // len(forms)))
    # A form meets another alternate in every round: the shift between rounds must not be a multiple of their number.
    shift = len(forms) + (len(forms) % len(order) == 0)
    negatives: dict[tuple[str, str], Negative] = {}
    for turn, place in product(range(rounds), range(len(forms))):
        form = forms[place]
        backwards = form.expects == "subject" and style == NegativesStyle.ALTERNATIVE
        if form.expects == "subject" and (style == NegativesStyle.CONTRADICTION or (backwards and not subjects)):
            continue  # a denied answer is no reply to a question for the subject
        chosen = subjects[(turn + place) % len(subjects)] if backwards else order[(place + turn * shift) % len(order)]
        negative = _negative(fact, form, chosen, style)
        if backwards or style == NegativesStyle.CONTRADICTION or not contains(negative.response, fact.spellings):
            negatives.setdefault((negative.prompt, negative.response), negative)
    return list(negatives.values())


def _negative(fact: Fact, form: Form, chosen: Accepted, style: NegativesStyle) -> Negative:
    offered = style == NegativesStyle.ALTERNATIVE  # only a plain wrong answer can stand among the options of a prompt
    return Negative(
        fact_id=fact.id,
        form=form.name,
        prompt=form.prompt_for(chosen.alternate) if offered else form.prompt,
        response=respond(style, form, chosen.alternate),
        alternate=chosen.alternate,
        origin=chosen.origin,
        checks=chosen.checks,
        expects=form.expects,
    )


def _too_few(lacking: Sequence[Fact], validator: Validator) -> NegativesError:
    """Return the error that lists every fact without enough alternates."""
    problems = []
    for fact in lacking:
        found = [one.alternate for one in validator.accepted[fact.id]]
        reasons = [f"'{row.alternate}' {row.reason}" for row in validator.rejected if row.fact_id == fact.id]
        problems.append(
            f"{fact.id} ({fact.prompt}): {len(found)} of {MIN_ALTERNATES}"
            + (f": {', '.join(found)}" if found else "")
            + (f"; dropped: {'; '.join(reasons[:_MAX_REASONS])}" if reasons else "")
        )
    count = len(lacking)
    return NegativesError(
        f"{count} fact{'s' if count > 1 else ''} with fewer than {MIN_ALTERNATES} valid wrong answers to train on.",
        hint=(
            'add plausible wrong answers to the request, such as "negatives": ["Lyon", "Nice", "Lille", "Metz"], '
            "or name a server that proposes them: --negatives-endpoint URL"
        ),
        problems=problems,
    )
