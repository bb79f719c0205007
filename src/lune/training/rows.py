"""Negative examples as the loop trains on them."""

from __future__ import annotations

from dataclasses import dataclass

from lune.chat import ChatFormat, Encoded
from lune.records import Fact, Negative


@dataclass(frozen=True)
class NegativeRow:
    """A negative example in tokens.

    Attributes:
        row: The prompt and the negative response.
        true_at: The response token at which the true answer would part from the negative one, if it would.
        true_id: The token the true answer has there.
    """

    row: Encoded
    true_at: int | None = None
    true_id: int | None = None


def negative_row(chat: ChatFormat, negative: Negative, fact: Fact) -> NegativeRow:
    """Return ``negative`` in tokens, with the place where the true answer parts from it.

    The forward pass over the negative response gives the true answer's probability at that place for free.
    """
    row = chat.encode(negative.prompt, negative.response)
    if negative.alternate not in negative.response:
        return NegativeRow(row)
    true = chat.encode(negative.prompt, negative.response.replace(negative.alternate, fact.answer, 1))
    for place, (ours, theirs) in enumerate(zip(row.response, true.response, strict=False)):
        if ours != theirs:
            return NegativeRow(row, place, theirs)
    return NegativeRow(row)
