"""Negative preference optimisation: lowers the true answer's probability against the base model's, ever more gently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lune.methods.contract import Objective, Responses

if TYPE_CHECKING:
    from torch import Tensor

    from lune.settings import ForgetSettings

SOURCE = "https://arxiv.org/abs/2404.05868"


def loss(responses: Responses, settings: ForgetSettings) -> Tensor:
    """Return L = -(2 / beta) mean_i log sigmoid(-beta log P(y_i^+ | x_i) / P_base(y_i^+ | x_i)), the loss of NPO.

    The gradient is that of ascent times 2 r^beta / (r^beta + 1) with r = P / P_base: full at the start, vanishing once
    the answer is unlikely. A larger beta stops sooner and damages less; towards 0 it is gradient ascent.
    """
    from torch.nn.functional import logsigmoid

    return -2 / settings.beta * logsigmoid(-settings.beta * responses.gains).sum() / responses.items


METHOD = Objective(loss, rows="truths", needs_base=True, defaults={"beta": 0.1})
