"""One update of trained parameters: gradients clipped, AdamW, and a rate that warms up and falls again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch


class Diverged(Exception):
    """The loss is no longer finite."""


class Updates:
    """AdamW whose rate rises linearly over the first share of all steps and then falls to 0 as half a cosine.

    Args:
        parameters: What is trained.
        total: Number of steps there will be.
        learning_rate: The peak.
        weight_decay: AdamW's.
        warmup: Share of the steps in which the rate rises.
        max_grad_norm: The norm of all gradients together is clipped to this.
    """

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        *,
        total: int,
        learning_rate: float,
        weight_decay: float,
        warmup: float,
        max_grad_norm: float,
    ) -> None:
        self._parameters = parameters
        self._max_grad_norm = max_grad_norm
        self._optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, warm_up_then_cosine(total, warmup))

    def step(self) -> float:
        """Move the parameters along their gradients, clear those, and return the rate of the next step."""
        torch.nn.utils.clip_grad_norm_(self._parameters, self._max_grad_norm)
        self._optimiser.step()
        self._schedule.step()
        self._optimiser.zero_grad()
        return float(self._schedule.get_last_lr()[0])

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on later; plain tensors and numbers."""
        return {"optimiser": self._optimiser.state_dict(), "schedule": self._schedule.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state()`` returned."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])


def warm_up_then_cosine(total: int, warmup: float) -> Callable[[int], float]:
    """Return the factor of the learning rate at each step: linear over the first share, then half a cosine to 0."""
    warm = max(1, round(total * warmup))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))

    return factor
