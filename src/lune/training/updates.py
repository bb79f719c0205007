"""One update of trained parameters: gradients clipped, AdamW, and a rate that warms up and falls again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch


class Diverged(Exception):
    """The loss is no longer finite."""


class Updates:
    """AdamW whose rate rises linearly over the first share of the training and then falls to 0 as half a cosine.

    Args:
        parameters: What is trained.
        learning_rate: The peak.
        weight_decay: AdamW's.
        warmup: Share of the training in which the rate rises.
        max_grad_norm: The norm of all gradients together is clipped to this.
    """

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        *,
        learning_rate: float,
        weight_decay: float,
        warmup: float,
        max_grad_norm: float,
    ) -> None:
        self._parameters = parameters
        self._learning_rate = learning_rate
        self._warmup = warmup
        self._max_grad_norm = max_grad_norm
        # Fused: many small matrices one after the other would cost more than all their numbers together.
        self._optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)

    def step(self, progress: float) -> float:
        """Move the parameters along their gradients, clear those, and return the rate of this step.

        Args:
            progress: Share of the whole training that lies before the middle of this step, from 0 to 1.
        """
        rate = self._learning_rate * rate_factor(progress, self._warmup)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        torch.nn.utils.clip_grad_norm_(self._parameters, self._max_grad_norm)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return rate

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on later; plain tensors and numbers."""
        return self._optimiser.state_dict()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state()`` returned."""
        self._optimiser.load_state_dict(dict(state))


def rate_factor(progress: float, warmup: float) -> float:
    """Return the factor of the learning rate: linear up to 1 over the share ``warmup``, then half a cosine to 0."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1 - warmup, 1e-9)))
