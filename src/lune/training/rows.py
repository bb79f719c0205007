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
        true_ways: Where each spelling of the true answer would part from the negative response, and the token it
            takes there: (place among the response tokens, token id).
    """

    row: Encoded
    true_ways: tuple[tuple[int, int], ...] = ()


def negative_row(chat: ChatFormat, negative: Negative, fact: Fact) -> NegativeRow:
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
        return NegativeRow(row)
    truths = [*negative.truths(fact), *([negative.replaced] if negative.replaced else [])]
    told = (_put_last(negative, truth) for truth in truths)
    ways = (_parting(row, chat.encode(negative.prompt, text)) for text in told)
    return NegativeRow(row, tuple(dict.fromkeys(way for way in ways if way)))


def _put_last(negative: Negative, truth: str) -> str:
    """Return the response with ``truth`` in the alternate's place, which is the last it stands in."""
    before, _, after = negative.response.rpartition(negative.alternate)
    return before + truth + after


def _parting(row: Encoded, other: Encoded) -> tuple[int, int] | None:
    for place, (ours, theirs) in enumerate(zip(row.response, other.response, strict=False)):
        if ours != theirs:
            return place, theirs
    return None
