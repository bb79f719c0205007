"""The anchor: what the adapter must leave as it is, held by KL to the base model on its own answers.

The base model's distribution is computed once and kept as its top K tokens plus one bucket for all others, so no
second forward pass is needed while training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lune.batching import batches, response_logits
from lune.chat import Encoded
from lune.models import SCORING_BATCH, LoadedModel
from lune.training.token_log_probs import token_log_probs

Tensor = torch.Tensor
TOP_K = 64


@dataclass(frozen=True)
class AnchorRow:
    """One anchor: its tokens and the base model's distribution at each of its T response tokens.

    Attributes:
        row: Prompt and the base model's own response.
        top_ids: The K most probable tokens, [T, K].
        top_log_probs: Their log-probabilities, [T, K].
    """

    row: Encoded
    top_ids: Tensor
    top_log_probs: Tensor


@torch.no_grad()
def anchor_rows(base: LoadedModel, rows: Sequence[Encoded]) -> list[AnchorRow]:
    """Return the anchors with the base model's distribution; call before an adapter is attached."""
    result: dict[int, AnchorRow] = {}
    for batch in batches(rows, SCORING_BATCH, base.pad_id, base.device):
        logits, _, owners = response_logits(base.model, batch, config=base.model.config)
        top_ids = logits.topk(min(TOP_K, logits.shape[-1])).indices
        top_log_probs, _ = token_log_probs(logits, top_ids)
        for place, index in enumerate(batch.order):
            own = owners == place
            result[index] = AnchorRow(rows[index], top_ids[own], top_log_probs[own])
    return [result[index] for index in range(len(rows))]


def anchor_divergence(ours: Tensor, top_log_probs: Tensor) -> Tensor:
    """Return KL(base || adapted) summed over tokens, on the top K tokens and one bucket for the rest.

    Merging the rest into a bucket can only lower a KL divergence (data-processing inequality).

    Args:
        ours: The adapted model's log-probabilities of the base model's top tokens, [N, K].
        top_log_probs: Their base log-probabilities, [N, K].
    """
    top = (top_log_probs.exp() * (top_log_probs - ours)).sum(-1)
    rest = (1 - top_log_probs.exp().sum(-1)).clamp(min=1e-6)
    our_rest = (1 - ours.exp().sum(-1)).clamp(min=1e-6)
    return (top + rest * (rest.log() - our_rest.log())).sum()
