"""Refusal tuning: cross-entropy on answers that decline to answer."""

from __future__ import annotations

from lune.methods.contract import Objective
from lune.methods.lune import loss

SOURCE = "https://arxiv.org/abs/2406.10890"

# L = -(1 / tokens) sum_i log P(refusal_i | x_i): "rejection tuning" of RWKU (arXiv 2406.10890). It is LUNE's loss on
# other answers.
METHOD = Objective(loss, rows="negatives", defaults={"negatives_style": "refusal"})
