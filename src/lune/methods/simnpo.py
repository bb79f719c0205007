"""NPO without a base model: lowers the true answer's mean log-probability a token, ever more gently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lune.methods.contract import Objective, Responses

if TYPE_CHECKING:
    from torch import Tensor

    from lune.settings import ForgetSettings

SOURCE = "https://arxiv.org/abs/2410.07163"


def loss(responses: Responses, settings: ForgetSettings) -> Tensor:
    """Return L = -(2 / beta) mean_i log sigmoid(-(beta / |y_i^+|) log P(y_i^+ | x_i) - gamma), the loss of SimNPO.

    |y| is the number of tokens. Long and short answers are pushed alike, and an answer counts as forgotten when it is
    unlikely, not when it is less likely than it was. A larger beta stops sooner; a larger gamma later.
    """
    from torch.nn.functional import logsigmoid

    margins = -settings.beta * responses.sums / responses.lengths - settings.gamma
    return -2 / settings.beta * logsigmoid(margins).sum() / responses.items


# beta and gamma as in the commands that the authors published for TOFU's forget05
# (github.com/OPTML-Group/Unlearn-Simple, TOFU/README.md).
METHOD = Objective(loss, rows="truths", defaults={"beta": 2.5, "gamma": 0.0})
