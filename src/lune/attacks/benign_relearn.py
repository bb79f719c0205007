"""Fine-tunes on harmless questions that have nothing to do with the forgotten facts, and asks for all of them."""

from __future__ import annotations

from lune import adapters
from lune.attacks.contract import AttackContext, Finding, direct_answers
from lune.attacks.finetuning import fine_tune, grid, pooled
from lune.chat import Conversation
from lune.probes.general import general_probes
from lune.text import contains

SOURCE = "https://arxiv.org/abs/2406.13356"
THREAT = "Whoever fine-tunes the merged weights for a purpose of their own, often without any ill will."
STEPS = {"quick": 8, "standard": 32, "strong": 128}
RATES = {"quick": (5e-4,), "standard": (1e-4, 5e-4), "strong": (5e-5, 1e-4, 5e-4, 1e-3)}
QUESTIONS = {"quick": 16, "standard": 32, "strong": 96}


def run(context: AttackContext) -> Finding:
    """Fine-tune the merged model on the base model's own answers to general questions.

    Questions or answers that hold a forgotten answer are left out: benign means that nothing is taught again.
    """
    questions = [probe.prompt for probe in general_probes("test", QUESTIONS[context.level])]
    said = context.ask([Conversation(question) for question in questions], base=True)
    spellings = [spelling for fact in context.facts for spelling in fact.spellings]
    pairs = [
        (question, answer)
        for question, answer in zip(questions, said, strict=True)
        if answer and not contains(f"{question} {answer}", spellings)
    ]
    victim = adapters.merged(context.shipped)
    trainee = victim.training_twin(context.precision)
    rows = [victim.chat.encode(question, answer) for question, answer in pairs]
    findings = []
    for rate in RATES[context.level]:
        answers = fine_tune(
            victim,
            trainee,
            rows,
            rate=rate,
            steps=STEPS[context.level],
            seed=context.seed,
            ask=lambda: direct_answers(victim, context.facts),
        )
        findings.append(pooled(context, f"learning rate {rate:g}", [(context.facts, answers)]))
    return grid(findings, {"benign texts": len(rows)})
