"""Direct preference optimisation with a refusal as the preferred answer and the true answer as the rejected one."""

from __future__ import annotations

from lune.methods.contract import Objective
from lune.methods.dpo import loss

SOURCE = "https://arxiv.org/abs/2401.06121"

# "Preference optimization" of TOFU (arXiv 2401.06121), without its retain data; the loss is dpo's.
METHOD = Objective(loss, rows="pairs", needs_base=True, defaults={"negatives_style": "refusal", "beta": 0.1})
