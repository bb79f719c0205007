"""Turns the adapter down, and takes it off: what remains of the forgetting at a part of the update."""

from __future__ import annotations

from lune import adapters
from lune.attacks.contract import AttackContext, Attempt, Curve, Finding, direct_answers
from lune.attacks.outcome import usr_by_form

SOURCE = "https://arxiv.org/abs/2505.24379"
THREAT = (
    "Whoever holds the base weights and the adapter apart, or the merged weights and the public base model, whose "
    "difference is the adapter. Without the adapter all is there by construction; only access to the merged model "
    "through an interface is protected from it."
)
SCALES = {
    0.0: "adapter off",
    0.25: "a quarter of the adapter",
    0.5: "half of the adapter",
    0.75: "three quarters of the adapter",
    1.0: "the whole adapter",
}


def run(context: AttackContext) -> Finding:
    """Ask every fact at each scale of the update, W + s B A; scale 0 is the base model."""
    attempts: list[Attempt] = []
    points = []
    told = []
    for scale, words in SCALES.items():
        with adapters.scaled(context.shipped.model, scale):
            answers = direct_answers(context.shipped, context.facts)
        attempts += context.attempts(words, answers)
        usr = usr_by_form(context.facts, attempts)[words]
        points.append((scale, usr))
        told.append(f"{words} {round(len(context.facts) * (1 - usr))}")
    curve = Curve("adapter scale", "scale of the update", tuple(points))
    note = "Taking the adapter off (scale 0) recovers everything by construction."
    remark = f"{note} Facts that come out, of {len(context.facts)}: {', '.join(told)}."
    return Finding(attempts, strongest_form=True, curves=(curve,), details={"note": note}, remark=remark)
