"""Likelihoods: one forward pass per text serves every metric that needs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lune.batching import batches, response_logits
from lune.chat import Encoded
from lune.language_model import TokenScores

TOKENS_AT_ONCE = 64
"""Tokens whose distributions are looked at together: of more, what is computed on the way no longer fits the caches."""


@torch.no_grad()
def score(model: Any, rows: Sequence[Encoded], *, pad_id: int, batch_size: int) -> list[TokenScores]:
    """Return the scores of each row's response tokens.

    For logits z and p = softmax(z) over the vocabulary V, with log p: the token's log-probability, the mean
    mu = sum_V p log p, and the deviation sigma = sqrt(sum_V p log^2 p - mu^2) (Min-K%++, arXiv 2404.02936).
    """
    scores: list[TokenScores | None] = [None] * len(rows)
    for batch in batches(rows, batch_size, pad_id, model.device):
        logits, targets, owners = response_logits(model, batch, config=model.config)
        parts = zip(torch.split(logits, TOKENS_AT_ONCE), torch.split(targets, TOKENS_AT_ONCE), strict=True)
        facts = tuple(map(torch.cat, zip(*(_of_tokens(*part) for part in parts), strict=True)))
        for place, index in enumerate(batch.order):
            own = owners == place
            scores[index] = TokenScores(*(tuple(fact[own].tolist()) for fact in facts))
    return [each for each in scores if each is not None]


def _of_tokens(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return each target's log-probability, mu, sigma, and whether it is the likeliest token, [N] each."""
    log_p = logits.float().log_softmax(-1)
    token = log_p.gather(-1, targets[:, None])[:, 0]
    p = log_p.exp()
    mean = (p * log_p).sum(-1)
    deviation = ((p * log_p.square()).sum(-1) - mean.square()).clamp(min=0).sqrt()
    return token, mean, deviation, log_p.argmax(-1) == targets


@torch.no_grad()
def next_log_probs(
    model: Any, rows: Sequence[Encoded], tokens: Sequence[int], *, pad_id: int, batch_size: int
) -> list[list[float]]:
    """Return the log-probability of each of ``tokens`` as the next one after each row, [rows, tokens], in nats."""
    # A response of one token, whichever, makes the batch end where the wanted distribution is.
    asked = [Encoded(row.ids, (tokens[0],)) for row in rows]
    found: list[list[float]] = [[] for _ in rows]
    for batch in batches(asked, batch_size, pad_id, model.device):
        logits, _, owners = response_logits(model, batch, config=model.config)
        log_p = logits.float().log_softmax(-1)[:, list(tokens)]
        for owner, values in zip(owners.tolist(), log_p.tolist(), strict=True):
            found[batch.order[owner]] = values
    return found
