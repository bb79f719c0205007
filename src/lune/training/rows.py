"""Negative examples as the loop trains on them."""

from __future__ import annotations

from dataclasses import dataclass

from lune.chat import ChatFormat, Encoded
from lune.records import Fact, Negative
from lune.text import contains


@dataclass(frozen=True)
class NegativeRow:
    """A negative example in tokens.

    Attributes:
        row: The prompt and the negative response.
        true_ways: Where a way to the true answer parts from the negative response, and the token it takes there:
            (place among the response tokens, token id).
    """

    row: Encoded
    true_ways: tuple[tuple[int, int], ...] = ()


def negative_row(chat: ChatFormat, negative: Negative, fact: Fact, own_answer: str) -> NegativeRow:
    """Return ``negative`` in tokens, with the places where the ways to the true answer part from it.

    There are two: the true answer in the place of the alternate, and the model's own words where they give the fact.
    The forward pass over the negative response gives the probability of taking either for free.

    Args:
        chat: Renders prompts and responses.
        negative: The negative example.
        fact: The fact it is about.
        own_answer: What the base model answers to the negative's prompt.
    """
    row = chat.encode(negative.prompt, negative.response)
    told = [own_answer] if contains(own_answer, fact.spellings) else []
    if negative.alternate in negative.response:
        told.append(negative.response.replace(negative.alternate, fact.answer, 1))
    ways = (_parting(row, chat.encode(negative.prompt, text)) for text in told)
    return NegativeRow(row, tuple(dict.fromkeys(way for way in ways if way)))


def _parting(row: Encoded, other: Encoded) -> tuple[int, int] | None:
    for place, (ours, theirs) in enumerate(zip(row.response, other.response, strict=False)):
        if ours != theirs:
            return place, theirs
    return None
