"""What the attacks by further training share: the merged model, a fresh adapter on it, and answers along the way."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator

from lune import adapters
from lune.attacks.contract import AttackContext, Attempt, Curve, Finding
from lune.attacks.outcome import usr_by_form
from lune.chat import Encoded
from lune.models import LoadedModel
from lune.records import Fact, History
from lune.settings import ForgetSettings, resolve
from lune.text import contains
from lune.training.loop import train
from lune.training.rows import TrainingRow
from lune.training.steering import DevScores

BATCH = 8
RANK = 16

Answers = list[str]


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning came to.

    Attributes:
        answers: The answers along the way, by step.
        plain_because: Why batches took the plain padded pass, in words; empty where they did not.
    """

    answers: dict[int, Answers]
    plain_because: str


Attach = Callable[[LoadedModel, ForgetSettings], None]


def fine_tune(
    victim: LoadedModel,
    trainee: LoadedModel,
    rows: Sequence[Encoded],
    *,
    rate: float,
    steps: int,
    seed: int,
    ask: Callable[[], Answers],
    attach: Attach = lambda model, settings: adapters.attach(model, settings, None),
) -> Tuned:
    """Train a fresh adapter on ``rows`` by cross-entropy and return the answers along the way, by step.

    The loop is that of the forgetting itself, with the true answers in the place of the negatives. Answers are taken
    after 1, 2, 4, 8 ... passes and at the end. The adapter is taken off again.

    Args:
        victim: What is asked; frozen, in the precision of answers.
        trainee: What is trained: ``victim`` itself or its twin in another precision.
        rows: Prompts with the responses to learn.
        rate: Peak learning rate.
        steps: Training steps, rounded up to whole passes.
        seed: Seed of the adapter and of the order of rows.
        ask: Returns the answers of ``victim`` as it stands.
        attach: Puts what is trained on a model.
    """
    steps_a_pass = math.ceil(len(rows) / BATCH)
    passes = math.ceil(steps / steps_a_pass)
    settings = resolve(_settings(rate, passes, seed))
    answers: dict[int, Answers] = {}
    done = 0

    def evaluate() -> DevScores:
        nonlocal done
        done += 1
        if done & (done - 1) == 0 or done == passes:
            if trainee is not victim:
                adapters.load_state(victim.model, adapters.state(trainee.model))
            answers[done * steps_a_pass] = ask()
        return DevScores(usr=0.0, apr=0.0, gur_neighbour=1.0, gur_general=1.0, degenerate=0.0)

    models = [trainee] if trainee is victim else [trainee, victim]
    for model in models:
        attach(model, settings)
    try:
        outcome = train(
            trainee,
            [TrainingRow(row) for row in rows],
            [],
            settings,
            accelerator=Accelerator(cpu=trainee.device.type == "cpu"),
            evaluate=evaluate,
            report=lambda row: None,
            history=History(),
        )
    finally:
        for model in models:
            adapters.detach(model)
            model.model.requires_grad_(False)
    return Tuned(answers, outcome.plain_because)


def _settings(rate: float, passes: int, seed: int) -> dict[str, Any]:
    return {
        "adapter": "lora",
        "layers": "all",
        "rank": RANK,
        "alpha": RANK,
        "learning_rate": rate,
        "passes": passes,
        "batch_size": BATCH,
        "anchors": 0,
        "anchor_weight": 0.0,
        "rejection_weight": 0.0,
        "release": 0.0,
        "early_stop": False,
        "seed": seed,
    }


def halves(facts: Sequence[Fact], texts: Mapping[str, Sequence[str]], seed: int) -> list[tuple[list[Fact], list[Fact]]]:
    """Return (trained on, tested on) twice, so that every fact is tested by a model that was trained on others alone.

    A fact whose answer stands in a text of the other half is not tested: training would teach it, not bring it back.
    A single fact has no other half; where nothing is left to test, nothing is returned.

    Args:
        facts: The facts.
        texts: What training reads of each fact, by fact id.
        seed: Decides the halves.
    """
    order = random.Random(seed).sample(range(len(facts)), len(facts))
    first = {facts[index].id for index in order[: len(facts) // 2]}
    one = [fact for fact in facts if fact.id in first]
    other = [fact for fact in facts if fact.id not in first]
    parts = []
    for trained, rest in ((one, other), (other, one)):
        read = "\n".join(text for fact in trained for text in texts[fact.id])
        tested = [fact for fact in rest if not contains(read, fact.spellings)]
        if trained and tested:
            parts.append((trained, tested))
    return parts


NO_HALVES = "There is no other half to test: one known fact, or answers that stand in the other facts' texts."


def sizes(parts: Sequence[tuple[Sequence[Fact], Sequence[Fact]]]) -> dict[str, object]:
    """Return what a report should say of the halves."""
    return {"trained, tested in each half": [[len(trained), len(tested)] for trained, tested in parts]}


def pooled(context: AttackContext, form: str, parts: Sequence[tuple[Sequence[Fact], Tuned]]) -> Finding:
    """Return the attempts at the last step and USR against steps, over the facts of all parts.

    Args:
        context: The attack's context.
        form: The variant.
        parts: The facts that each training was tested on, and what it came to. Trainings on parts of different
            size end at different steps; each stays at its last answers then.
    """
    steps = sorted({step for _, tuned in parts for step in tuned.answers})
    points = [(0.0, _usr(context, form, [(facts, _before(context, facts)) for facts, _ in parts]))]
    for step in steps:
        at = [(facts, _answers_at(tuned.answers, step)) for facts, tuned in parts]
        points.append((float(step), _usr(context, form, at)))
    last = [(facts, tuned.answers[max(tuned.answers)]) for facts, tuned in parts]
    attempts = [attempt for facts, texts in last for attempt in context.attempts(form, texts, facts)]
    # It is the model's doing, so the same in every part.
    reason = next((tuned.plain_because for _, tuned in parts if tuned.plain_because), None)
    return Finding(attempts, curves=(Curve(form, "steps", tuple(points)),), details={"plain_pass_because": reason})


def _answers_at(answers: Mapping[int, Answers], step: int) -> Answers:
    return answers[max(each for each in answers if each <= step or each == min(answers))]


def _before(context: AttackContext, facts: Sequence[Fact]) -> Answers:
    return [context.answers[fact.id] for fact in facts]


def _usr(context: AttackContext, form: str, parts: Sequence[tuple[Sequence[Fact], Answers]]) -> float:
    attempts: list[Attempt] = []
    for facts, texts in parts:
        attempts += context.attempts(form, texts, facts)
    return usr_by_form(context.facts, attempts)[form]


def grid(findings: Sequence[Finding], details: dict[str, object]) -> Finding:
    """Return the findings of a grid of learning rates as one attack, of which the strongest rate is reported."""
    attempts = [attempt for finding in findings for attempt in finding.attempts]
    curves = [curve for finding in findings for curve in finding.curves]
    note = "The learning rates were fixed in advance; the one that recovers most is reported, at its last step."
    reason = next((why for finding in findings if (why := finding.details.get("plain_pass_because"))), None)
    told = {"note": note, **details, "plain_pass_because": reason}
    return Finding(attempts, strongest_form=True, curves=curves, details=told)
