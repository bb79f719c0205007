"""Samples many answers to the question and other wordings of it: one that gives the fact is enough (leak@k)."""

from __future__ import annotations

from lune.attacks.contract import DIRECT_TOKENS, AttackContext, Attempt, Curve, Finding
from lune.metrics.leakage import count_leaks, leakage

SOURCE = "https://arxiv.org/abs/2511.04934"
THREAT = "Whoever may ask the model often and let it sample; no weights are needed."
SAMPLES = {"quick": 20, "standard": 200, "strong": 400}
WORDINGS = {"quick": 1, "standard": 2, "strong": 4}
"""Wordings of each fact that are asked, its own prompt first, then paraphrases as far as it has them."""
TEMPERATURE = 1.0
KS = (1, 2, 5, 10, 20, 50, 100, 200, 400)


def run(context: AttackContext) -> Finding:
    """Draw n answers to each wording at temperature 1 without truncation, and estimate leak@k for k up to n."""
    count, wordings = SAMPLES[context.level], WORDINGS[context.level]
    asked = [
        (fact, number, prompt)
        for fact in context.facts
        for number, prompt in enumerate((fact.prompt, *fact.paraphrases)[:wordings])
    ]
    drawn = context.shipped.sample(
        [prompt for _, _, prompt in asked],
        count=count,
        seed=context.seed,
        temperature=TEMPERATURE,
        max_new_tokens=DIRECT_TOKENS,
    )
    attempts, leaks = [], []
    for (fact, number, _), answers in zip(asked, drawn, strict=True):
        form = f"paraphrase {number}" if number else "the prompt itself"
        attempts += [Attempt(fact.id, form, answer) for answer in answers]
        leaks.append(count_leaks(form, fact.id, answers, fact.spellings))
    told = leakage(leaks, [k for k in KS if k <= count], seed=context.seed)
    by_k = {name.removeprefix("leak@"): each for name, each in told.items()}
    points = tuple((int(k), 1 - each["mean"]) for k, each in by_k.items() if each["mean"] is not None)
    details = {
        "samples": count,
        "wordings": wordings,
        "temperature": TEMPERATURE,
        "leak_at_k": {k: each["mean"] for k, each in by_k.items()},
        "leak_at_k_of_the_worst_wording": {k: each["worst_case"] for k, each in by_k.items()},
        "leak_at_k_upper_bound": {k: each["upper_bound"] for k, each in by_k.items()},
    }
    most = max(by_k, key=int)
    share, bound = by_k[most]["mean"] or 0.0, by_k[most]["upper_bound"] or 0.0
    remark = f"leak@{most} over all prompts: {share:.3f}, at most {bound:.3f} with 95 % confidence."
    curve = Curve("1 - leak@k", "answers drawn", points)
    return Finding(attempts, curves=(curve,), details=details, remark=remark)
