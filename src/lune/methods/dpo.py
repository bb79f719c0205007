"""Direct preference optimisation: prefers the plausible wrong answer to the true one, against the base model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lune.methods.contract import Objective, Responses

if TYPE_CHECKING:
    from torch import Tensor

    from lune.settings import ForgetSettings

SOURCE = "https://arxiv.org/abs/2305.18290"


def loss(responses: Responses, settings: ForgetSettings) -> Tensor:
    """Return L = -(2 / beta) mean_i log sigmoid(beta (log r(y_i^-) - log r(y_i^+))) with r(y) = P / P_base of y.

    DPO (arXiv 2305.18290) eq. 7, with the factor 2 / beta that unlearning puts before it (NPO, 2404.05868; AltPO,
    2409.13474), so that NPO is this loss without the preferred answer. The wrong answers are this tool's checked
    alternates; AltPO samples them from the model. A larger beta stops sooner.
    """
    from torch.nn.functional import logsigmoid

    gains, pairs = responses.gains, len(responses.lengths) // 2
    margins = settings.beta * (gains[:pairs] - gains[pairs:])
    return -2 / settings.beta * logsigmoid(margins).sum() / responses.items


METHOD = Objective(loss, rows="pairs", needs_base=True, defaults={"beta": 0.1})
