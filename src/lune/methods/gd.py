"""Gradient difference: ascent on the true answer, descent on the base model's own answers to self-made questions."""

from __future__ import annotations

from lune.methods.contract import Objective
from lune.methods.ga import loss

SOURCE = "https://arxiv.org/abs/2203.12817"

# L = (1 / tokens) sum_i log P(y_i^+ | x_i)  -  w (1 / anchor tokens) sum_j log P(a_j | q_j), w = anchor_weight.
# Gradient difference (Liu, Liu and Stone, arXiv 2203.12817; "GradDiff" of TOFU, 2401.06121) takes retain data for the
# second sum. A forget request comes with none, so it is taken over the tool's own anchors: questions it makes itself,
# answered by the base model. A retain set of the user's own may well hold more.
METHOD = Objective(loss, rows="truths", hold="cross-entropy", defaults={"anchors": 200, "anchor_weight": 1.0})
