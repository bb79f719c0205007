"""Samples many answers to the plain question: one that gives the fact is enough (leak@k)."""

from __future__ import annotations

from lune.attacks.contract import DIRECT_TOKENS, AttackContext, Attempt, Curve, Finding
from lune.metrics.leakage import leak_at_k, leak_upper_bound
from lune.text import contains

SOURCE = "https://arxiv.org/abs/2511.04934"
THREAT = "Whoever may ask the model often and let it sample; no weights are needed."
SAMPLES = {"quick": 20, "standard": 200, "strong": 400}
TEMPERATURE = 1.0
FORM = "T=1"


def run(context: AttackContext) -> Finding:
    """Draw n answers to each direct prompt at temperature 1 without truncation, and estimate leak@k for k up to n."""
    count = SAMPLES[context.level]
    drawn = context.shipped.sample(
        context.prompts,
        count=count,
        seed=context.seed,
        temperature=TEMPERATURE,
        max_new_tokens=DIRECT_TOKENS,
    )
    attempts = [
        Attempt(fact.id, FORM, answer) for fact, answers in zip(context.facts, drawn, strict=True) for answer in answers
    ]
    leaks = [
        sum(contains(answer, fact.spellings) for answer in answers)
        for fact, answers in zip(context.facts, drawn, strict=True)
    ]
    steps = sorted({k for k in (1, 2, 5, 10, 20, 50, 100, 200, 400) if k <= count} | {count})
    mean = {k: sum(leak_at_k(each, count, k) for each in leaks) / len(leaks) for k in steps}
    curve = Curve("1 - leak@k", "answers drawn", tuple((k, 1 - share) for k, share in mean.items()))
    worst = {str(k): max(leak_at_k(each, count, k) for each in leaks) for k in steps}
    bounds = {str(k): sum(leak_upper_bound(each, count, k) for each in leaks) / len(leaks) for k in steps}
    details = {
        "samples": count,
        "temperature": TEMPERATURE,
        "leak_at_k": {str(k): share for k, share in mean.items()},
        "leak_at_k_upper_bound": bounds,
        "leak_at_k_of_the_worst_fact": worst,
    }
    return Finding(attempts, curves=(curve,), details=details)
