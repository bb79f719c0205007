"""Cross-entropy on plausible wrong answers in an adapter; recipe lune also pushes the true answer down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lune.methods.contract import Objective, Responses

if TYPE_CHECKING:
    from torch import Tensor

    from lune.settings import ForgetSettings

SOURCE = "https://arxiv.org/abs/2512.07375"


def loss(responses: Responses, settings: ForgetSettings) -> Tensor:
    """Return L = -(1 / tokens) sum_i log P(y_i^- | x_i), LUNE (arXiv 2512.07375) eq. 4 as a token mean.

    It is plain fine-tuning on the wrong answer: it raises P(y^-), and the true answer loses probability only because
    the two compete in the softmax. Nothing in it protects other facts; see the anchors (docs/method.md). The setting
    ``rejection_weight`` adds a term that lowers the true answer's probability directly: on in the recipe ``lune``,
    off in ``lune-paper``.
    """
    return -responses.log_probs.sum() / responses.tokens


METHOD = Objective(loss, rows="negatives")
