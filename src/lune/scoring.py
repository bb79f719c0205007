"""Likelihoods: one forward pass per text serves every metric that needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from lune.batching import batches, logits_after_prompts, response_logits, run_prompts, shortest_window
from lune.chat import Encoded
from lune.counting import tell
from lune.language_model import TokenScores

TOKENS_AT_ONCE = 64
"""Tokens whose distributions are looked at together: of more, what is computed on the way no longer fits the caches."""


@torch.no_grad()
def score(model: Any, rows: Sequence[Encoded], *, pad_id: int, batch_size: int) -> list[TokenScores]:
    """Return the scores of each row's response tokens.

    For logits z and p = softmax(z) over the vocabulary V, with log p: the token's log-probability, the mean
    mu = sum_V p log p, and the deviation sigma = sqrt(sum_V p log^2 p - mu^2) (Min-K%++, arXiv 2404.02936).

    A prompt with several responses is run once.
    """
    scores: list[TokenScores | None] = [None] * len(rows)
    for order, (logits, targets, owners) in _run(model, rows, pad_id, batch_size):
        parts = zip(torch.split(logits, TOKENS_AT_ONCE), torch.split(targets, TOKENS_AT_ONCE), strict=True)
        facts = tuple(map(torch.cat, zip(*(_of_tokens(*part) for part in parts), strict=True)))
        for place, index in enumerate(order):
            own = owners == place
            scores[index] = TokenScores(*(tuple(fact[own].tolist()) for fact in facts))
    return [each for each in scores if each is not None]


def _run(
    model: Any, rows: Sequence[Encoded], pad_id: int, batch_size: int
) -> Iterator[tuple[list[int], tuple[torch.Tensor, ...]]]:
    """Yield what ``response_logits`` returns a batch at a time, and where the batch's rows stand in ``rows``."""
    sharing = _sharing(model, rows)
    shared = {place for places in sharing for place in places}
    alone = [place for place in range(len(rows)) if place not in shared]
    for batch in batches([rows[place] for place in alone], batch_size, pad_id, model.device):
        yield [alone[place] for place in batch.order], response_logits(model, batch, config=model.config)
    done = len(alone)
    for start in range(0, len(sharing), batch_size):
        some = sharing[start : start + batch_size]
        run = run_prompts(model, [rows[places[0]].prompt for places in some], pad_id=pad_id, config=model.config)
        owned = [(owner, place) for owner, places in enumerate(some) for place in places]
        owned.sort(key=lambda pair: len(rows[pair[1]].response))
        for first in range(0, len(owned), batch_size):
            owners, order = map(list, zip(*owned[first : first + batch_size], strict=True))
            found = logits_after_prompts(model, run, owners, [rows[place] for place in order], pad_id=pad_id)
            yield order, found
            done += len(order)
            tell(done, len(rows))


def _sharing(model: Any, rows: Sequence[Encoded]) -> list[list[int]]:
    """Return the places of rows that have their prompt in common, by prompt, short prompts first.

    None where the model attends to a window shorter than the rows: it counts columns, padding among them.
    """
    if shortest_window(model.config) < 2 * max((len(row.ids) for row in rows), default=0):
        return []
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for place, row in enumerate(rows):
        by_prompt.setdefault(tuple(row.prompt), []).append(place)
    several = [prompt for prompt, places in by_prompt.items() if len(places) > 1 and len(prompt) > 1]
    return [by_prompt[prompt] for prompt in sorted(several, key=len)]


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
