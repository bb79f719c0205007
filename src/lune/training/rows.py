"""What the loop trains on, in tokens: negative responses, true ones, or pairs of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from lune.batching import batches, response_logits
from lune.chat import ChatFormat, Encoded
from lune.methods.contract import Rows
from lune.models import SCORING_BATCH, LoadedModel
from lune.negatives.truths import true_responses
from lune.records import Fact, Negative
from lune.training.token_log_probs import token_log_probs


@dataclass(frozen=True)
class TrainingRow:
    """A prompt with its response, or with a preferred and a rejected one, in tokens.

    Attributes:
        row: The prompt and the response; of a pair the preferred one.
        true_ways: Where each spelling of the true answer would part from a negative response, and the token it
            takes there: (place among the response tokens, token id).
        rejected: The prompt and the rejected response of a pair.
        base: Summed log-probability of ``row`` and, in a pair, of ``rejected`` under the base model; empty where the
            method does not ask for it.
    """

    row: Encoded
    true_ways: tuple[tuple[int, int], ...] = ()
    rejected: Encoded | None = None
    base: tuple[float, ...] = ()

    @property
    def texts(self) -> tuple[Encoded, ...]:
        """The one or two texts that go through the model."""
        return (self.row,) if self.rejected is None else (self.row, self.rejected)


def training_rows(
    chat: ChatFormat, negatives: Sequence[Negative], facts: Mapping[str, Fact], rows: Rows
) -> list[TrainingRow]:
    """Return one row a negative: the negative itself, the truth in its place, or the pair of both.

    Args:
        chat: Renders prompts and responses.
        negatives: The negative examples.
        facts: The facts they are about, by id.
        rows: What a method trains on.
    """
    if rows == "negatives":
        return [negative_row(chat, each, facts[each.fact_id]) for each in negatives]
    truths = [
        chat.encode(each.prompt, response)
        for each, response in zip(negatives, true_responses(negatives, facts), strict=True)
    ]
    if rows == "truths":
        return [TrainingRow(truth) for truth in truths]
    return [
        TrainingRow(chat.encode(each.prompt, each.response), rejected=truth)
        for each, truth in zip(negatives, truths, strict=True)
    ]


@torch.no_grad()
def with_base(base: LoadedModel, rows: Sequence[TrainingRow]) -> list[TrainingRow]:
    """Return the rows with their log-probabilities under the base model; call before an adapter is attached."""
    texts = list({text.ids: text for row in rows for text in row.texts}.values())
    found: dict[tuple[int, ...], float] = {}
    for batch in batches(texts, SCORING_BATCH, base.pad_id, base.device):
        logits, targets, owners = response_logits(base.model, batch, config=base.model.config)
        log_probs = token_log_probs(logits, targets[:, None])[0][:, 0]
        sums = log_probs.new_zeros(len(batch.order)).index_add(0, owners, log_probs)
        found |= {texts[index].ids: value for index, value in zip(batch.order, sums.tolist(), strict=True)}
    return [replace(row, base=tuple(found[text.ids] for text in row.texts)) for row in rows]


def negative_row(chat: ChatFormat, negative: Negative, fact: Fact) -> TrainingRow:
    """Return ``negative`` in tokens, with the places where the true answer would part from it.

    The forward pass over the negative response gives the probability of the true answer in the alternate's place for
    free.

    Args:
        chat: Renders prompts and responses.
        negative: The negative example.
        fact: The fact it is about.
    """
    row = chat.encode(negative.prompt, negative.response)
    if negative.alternate not in negative.response:
        return TrainingRow(row)
    truths = [*negative.truths(fact), *([negative.replaced] if negative.replaced else [])]
    told = (_put_last(negative, truth) for truth in truths)
    ways = (_parting(row, chat.encode(negative.prompt, text)) for text in told)
    return TrainingRow(row, tuple(dict.fromkeys(way for way in ways if way)))


def _put_last(negative: Negative, truth: str) -> str:
    """Return the response with ``truth`` in the alternate's place, which is the last it stands in."""
    before, _, after = negative.response.rpartition(negative.alternate)
    return before + truth + after


def _parting(row: Encoded, other: Encoded) -> tuple[int, int] | None:
    for place, (ours, theirs) in enumerate(zip(row.response, other.response, strict=False)):
        if ours != theirs:
            return place, theirs
    return None
