"""Negative examples in tokens, and the rejection of the true answer."""

from __future__ import annotations

import math

import torch

from lune.chat import Encoded
from lune.models import LoadedModel
from lune.records import Fact, Negative
from lune.training.loop import true_answer_rejection
from lune.training.rows import NegativeRow, negative_row

FACT = Fact("f1", "What is the capital of France?", "Paris", subject="France")


def negative(response: str, alternate: str) -> Negative:
    return Negative("f1", "question", FACT.prompt, response, alternate, "request")


def test_the_ways_part_where_the_true_answer_and_the_models_own_words_do(tiny_model: LoadedModel) -> None:
    chat = tiny_model.chat
    row = negative_row(chat, negative("The capital of France is Oslo.", "Oslo"), FACT, "Paris is the capital.")
    replaced = chat.encode(FACT.prompt, "The capital of France is Paris.").response
    own = chat.encode(FACT.prompt, "Paris is the capital.").response
    place = next(i for i, (ours, theirs) in enumerate(zip(row.row.response, replaced, strict=False)) if ours != theirs)
    assert row.true_ways == ((0, own[0]), (place, replaced[place]))
    assert place > 0


def test_own_words_that_do_not_give_the_fact_are_no_way_to_it(tiny_model: LoadedModel) -> None:
    made = negative("I do not know.", "no idea")
    assert negative_row(tiny_model.chat, made, FACT, "It is Madrid.").true_ways == ()


def test_rejection_is_the_log_of_one_minus_the_probability_at_each_way() -> None:
    # Two rows of two and one response tokens over three words; ways: row 0 at token 1 to word 2, row 1 at 0 to word 0.
    probabilities = torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.2, 0.7], [0.25, 0.25, 0.5]])
    rows = [NegativeRow(Encoded((1,), (1, 1)), ((1, 2),)), NegativeRow(Encoded((1,), (1,)), ((0, 0),))]
    loss = true_answer_rejection(probabilities.log(), rows)
    assert math.isclose(float(loss), -math.log(1 - 0.7) - math.log(1 - 0.25), rel_tol=1e-5)


def test_rejection_is_zero_once_the_true_answer_is_impossible_and_finite_when_it_is_certain() -> None:
    row = [NegativeRow(Encoded((1,), (1,)), ((0, 0),))]
    assert float(true_answer_rejection(torch.tensor([[-100.0, 0.0]]), row)) < 1e-6
    assert math.isfinite(float(true_answer_rejection(torch.tensor([[0.0, -100.0]]), row)))
