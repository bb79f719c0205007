"""Gradient ascent: lowers the log-probability of the true answer, without bound and without holding anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lune.methods.contract import Objective, Responses

if TYPE_CHECKING:
    from torch import Tensor

    from lune.settings import ForgetSettings

SOURCE = "https://arxiv.org/abs/2401.06121"


def loss(responses: Responses, settings: ForgetSettings) -> Tensor:
    """Return L = (1 / tokens) sum_i log P(y_i^+ | x_i): the negated cross-entropy, "gradient ascent" of TOFU.

    It has no minimum: the longer it is trained, the more of the model it takes along. What keeps a run from that is
    the choice of the best adapter by the dev probes alone.
    """
    return responses.log_probs.sum() / responses.tokens


METHOD = Objective(loss, rows="truths")
