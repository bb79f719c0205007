"""A closed-form edit: the subject's key is made to write a value that leads to one wrong answer (ROME, MEMIT)."""

from __future__ import annotations

from lune.methods.contract import Edit

SOURCE = "https://arxiv.org/abs/2210.07229"

# The algorithm is lune.training.editing. `passes` are the gradient steps that look for the values and `learning_rate`
# theirs, as in MEMIT's settings for GPT-J (github.com/kmeng01/memit, hparams/MEMIT): 25 steps of Adam at 0.5.
METHOD = Edit(defaults={"adapter": "keyed", "layers": "auto", "learning_rate": 0.5, "passes": 25})
