"""Teaches half of the forgotten facts again and asks for the other half, both ways round."""

from __future__ import annotations

from lune import adapters
from lune.attacks.contract import AttackContext, Finding, direct_answers
from lune.attacks.finetuning import NO_HALVES, fine_tune, grid, halves, pooled, sizes

SOURCE = "https://arxiv.org/abs/2410.08827"
THREAT = "Whoever may fine-tune the merged weights and knows some of the facts that were forgotten."
STEPS = {"quick": 8, "standard": 32, "strong": 128}
RATES = {"quick": (5e-4,), "standard": (1e-4, 5e-4), "strong": (5e-5, 1e-4, 5e-4, 1e-3)}


def run(context: AttackContext) -> Finding:
    """Fine-tune the merged model on the base model's true answers to one half, test the other half, and swap.

    The prompts are the direct ones and the paraphrases of the trained half; a fact is tested only where its answer
    occurs in no text of that half.
    """
    texts = {fact.id: (fact.prompt, *fact.paraphrases, context.base_answers[fact.id]) for fact in context.facts}
    parts = halves(context.facts, texts, context.seed)
    if not parts:
        return Finding([], details={"note": NO_HALVES})
    victim = adapters.merged(context.shipped)
    trainee = victim.training_twin(context.precision)
    findings = []
    for rate in RATES[context.level]:
        done = []
        for trained, tested in parts:
            rows = [
                victim.chat.encode(prompt, context.base_answers[fact.id])
                for fact in trained
                for prompt in (fact.prompt, *fact.paraphrases)
            ]
            answers = fine_tune(
                victim,
                trainee,
                rows,
                rate=rate,
                steps=STEPS[context.level],
                seed=context.seed,
                ask=lambda tested=tested: direct_answers(victim, tested),  # type: ignore[misc]
            )
            done.append((tested, answers))
        findings.append(pooled(context, f"learning rate {rate:g}", done))
    return grid(findings, sizes(parts))
