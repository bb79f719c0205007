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
SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)


def run(context: AttackContext) -> Finding:
    """Ask every fact at each scale of the update, W + s B A; scale 0 is the base model."""
    attempts: list[Attempt] = []
    points = []
    for scale in SCALES:
        with adapters.scaled(context.shipped.model, scale):
            answers = direct_answers(context.shipped, context.facts)
        attempts += context.attempts(f"scale {scale:g}", answers)
        points.append((scale, usr_by_form(context.facts, attempts)[f"scale {scale:g}"]))
    curve = Curve("adapter scale", "scale of the update", tuple(points))
    note = "Removal (scale 0) recovers everything by construction."
    return Finding(attempts, strongest_form=True, curves=(curve,), details={"note": note})
