"""Lets likelihoods choose between the true answer and others that no training saw: chosen or shunned, it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lune.attacks.contract import AttackContext, Attempt, Finding
from lune.metrics.choice import SIGNIFICANCE, Choice, ChoiceScores, choice_scores, choose
from lune.records import Fact, Probe
from lune.wording import response_for

SOURCE = "https://arxiv.org/abs/2505.02884"
THREAT = (
    "Whoever sees the likelihoods of answers, as every holder of the weights and users of some interfaces do, and can "
    "name candidates. Some are right by guessing alone, so its share is told beside."
)
FORM = "the likeliest option"
NO_OPTIONS = "No fact has a held-out alternate whose likelihood can be compared with that of its answer."


def run(context: AttackContext) -> Finding:
    """Score the true answer and the fact's held-out alternates as answers to the direct prompt; the likeliest counts.

    Each is scored as the whole sentence that training would have written, by its mean log-probability a token
    (``lune.metrics.choice``). The alternates were trained for no fact, so training did not raise them. A fact without
    any is not tried.
    """
    asked = [fact for fact in context.facts if context.held_out.get(fact.id)]
    options = {fact.id: _options(fact, context.held_out[fact.id]) for fact in asked}
    probes = [_probe(fact, list(options[fact.id])) for fact in asked]
    after = choose(context.shipped, probes)
    if not after:
        return Finding([], details={"note": NO_OPTIONS})
    with context.shipped.model.disable_adapter():
        before = choose(context.shipped, probes)
    scores, base = choice_scores(after, seed=context.seed), choice_scores(before, seed=context.seed)
    return Finding(
        _attempts(after, options),
        _attempts(before, options),
        guessable=True,
        details={**scores, "base_accuracy": base["accuracy"], "facts not tried": len(context.facts) - len(after)},
        remark=_remark(scores),
    )


def _options(fact: Fact, alternates: Sequence[str]) -> dict[str, str]:
    """Return each option by the sentence that is scored for it, the true answer first."""
    found: dict[str, str] = {}
    for option in (fact.answer, *alternates):
        found.setdefault(response_for(fact.prompt, option, subject=fact.subject), option)
    return found


def _probe(fact: Fact, sentences: Sequence[str]) -> Probe:
    return Probe(
        id=fact.id,
        kind="direct",
        prompt=fact.prompt,
        expected=(sentences[0],),
        split="test",
        fact_id=fact.id,
        alternates=tuple(sentences[1:]),
    )


def _attempts(choices: Sequence[Choice], options: Mapping[str, Mapping[str, str]]) -> list[Attempt]:
    """Return the option that each choice fell on; of equally likely ones the first, which is the true answer."""
    return [
        Attempt(each["fact"], FORM, list(options[each["fact"]].values())[each["scores"].index(max(each["scores"]))])
        for each in choices
    ]


def _remark(scores: ChoiceScores) -> str:
    """Return what uniform guessing gives, and whether the choices are other than such guesses."""
    below, above = scores["p_below"] or 0.0, scores["p_above"] or 0.0
    guessing = f"Uniform guessing gives {scores['chance']:.0%}"
    if min(below, above) >= SIGNIFICANCE / 2:  # either side may be the surprising one
        return f"{guessing}: so many or few are nothing unusual (p = {min(below, above):.2g} to one side)."
    few = "few" if below < above else "many"
    return (
        f"{guessing}; so {few} are unlikely (p = {min(below, above):.2g}), so the true answer is still told from the "
        "others, or is likelier or less likely than they are whatever is asked."
    )
