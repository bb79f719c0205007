"""Log-probabilities of a few tokens a place, without the [N, V] tensors that a log-softmax and gathers leave behind.

The losses look at some 65 of 49,152 tokens. Through log_softmax, gather and indexing each look costs a tensor of the
whole vocabulary filled with zeros on the way back; here the way back is one tensor.
"""

from __future__ import annotations

from typing import Any

import torch

Tensor = torch.Tensor
ROWS = 16
"""Rows worked on at a time: what is small enough is taken from memory at hand instead of being asked of the system."""


class _TokenLogProbs(torch.autograd.Function):
    """log p at ``ids`` and the normaliser log Z, with d log p_i / d z = e_i - p and d log Z / d z = p."""

    @staticmethod
    def forward(context: Any, logits: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p [N, K] and log Z [N] for logits [N, V] and ids [N, K]."""
        normaliser = torch.cat([rows.float().logsumexp(-1) for rows in torch.split(logits, ROWS)])
        context.save_for_backward(logits, ids, normaliser)
        return logits.gather(-1, ids).float() - normaliser[:, None], normaliser

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient by the logits, in their precision."""
        logits, ids, normaliser = context.saved_tensors
        by_token, by_normaliser = gradients
        weight = by_normaliser - by_token.sum(-1)
        gradient = torch.empty_like(logits)
        for start in range(0, len(logits), ROWS):
            own = slice(start, start + ROWS)
            p = logits[own].float().sub(normaliser[own, None]).exp_()
            gradient[own] = p.mul_(weight[own, None]).scatter_add_(-1, ids[own], by_token[own])
        return gradient, None


def token_log_probs(logits: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each token of ``ids`` [N, K] and the log-normaliser [N], in float32.

    Args:
        logits: [N, V], of any precision.
        ids: Token ids, [N, K]; the same id may stand more than once.
    """
    found: tuple[Tensor, Tensor] = _TokenLogProbs.apply(logits, ids)  # type: ignore[no-untyped-call]
    return found
