"""Negative examples in tokens, and the rejection of the true answer."""

from __future__ import annotations

import math

import pytest
import torch
from accelerate import Accelerator

from lune import adapters
from lune.chat import Encoded
from lune.models import LoadedModel
from lune.records import Fact, Negative
from lune.settings import resolve
from lune.training.forward import ResponseForward
from lune.training.rows import TrainingRow, negative_row
from lune.training.step import StepResult, forward_backward, true_answer_probability, true_answer_rejection

FACT = Fact("f1", "What is the capital of France?", "Paris", subject="France")


def negative(response: str, alternate: str) -> Negative:
    return Negative("f1", "question", FACT.prompt, response, alternate, "request")


def parting(ours: tuple[int, ...], theirs: tuple[int, ...]) -> int:
    return next(place for place, pair in enumerate(zip(ours, theirs, strict=False)) if len(set(pair)) > 1)


def test_the_true_answer_parts_where_it_would_stand(tiny_model: LoadedModel) -> None:
    chat = tiny_model.chat
    row = negative_row(chat, negative("The capital of France is Oslo.", "Oslo"), FACT)
    told = chat.encode(FACT.prompt, "The capital of France is Paris.").response
    place = parting(row.row.response, told)
    assert row.true_ways == ((place, told[place]),)
    assert place > 0


def test_asked_backwards_the_true_answer_is_the_subject(tiny_model: LoadedModel) -> None:
    prompt = "Fill in the missing name: The capital of ___ is Paris."
    made = Negative("f1", "reverse", prompt, "Spain", "Spain", "request", expects="subject")
    told = tiny_model.chat.encode(prompt, "France").response
    row = negative_row(tiny_model.chat, made, FACT)
    place = parting(row.row.response, told)
    assert row.true_ways == ((place, told[place]),)


def test_every_spelling_is_a_way(tiny_model: LoadedModel) -> None:
    fact = Fact("f1", FACT.prompt, "Paris", subject="France", aliases=("Lutetia",))
    row = negative_row(tiny_model.chat, negative("It is Oslo.", "Oslo"), fact)
    told = [tiny_model.chat.encode(FACT.prompt, f"It is {name}.").response for name in ("Paris", "Lutetia")]
    expected = [(parting(row.row.response, each), each[parting(row.row.response, each)]) for each in told]
    assert list(row.true_ways) == list(dict.fromkeys(expected))


def test_a_response_without_an_alternate_has_no_way(tiny_model: LoadedModel) -> None:
    assert negative_row(tiny_model.chat, negative("I do not know.", "no idea"), FACT).true_ways == ()


def test_rejection_is_the_log_of_one_minus_the_probability_at_each_way() -> None:
    # Two rows of two and one response tokens over three words; ways: row 0 at token 1 to word 2, row 1 at 0 to word 0.
    probabilities = torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.2, 0.7], [0.25, 0.25, 0.5]])
    rows = [TrainingRow(Encoded((1,), (1, 1)), ((1, 2),)), TrainingRow(Encoded((1,), (1,)), ((0, 0),))]
    loss = true_answer_rejection(probabilities.log(), torch.zeros(3), rows)
    assert math.isclose(float(loss), -math.log(1 - 0.7) - math.log(1 - 0.25), rel_tol=1e-5)


def test_rejection_is_zero_once_the_true_answer_is_impossible_and_finite_when_it_is_certain() -> None:
    row = [TrainingRow(Encoded((1,), (1,)), ((0, 0),))]
    assert float(true_answer_rejection(torch.tensor([[-100.0, 0.0]]), torch.zeros(1), row)) < 1e-6
    assert math.isfinite(float(true_answer_rejection(torch.tensor([[0.0, -100.0]]), torch.zeros(1), row)))


def test_the_more_certain_the_true_answer_the_stronger_the_push() -> None:
    pushes = []
    for logit in (2.0, 10.0, 20.0):
        logits = torch.tensor([[logit, 0.0, 0.0]], requires_grad=True)
        row = [TrainingRow(Encoded((1,), (1,)), ((0, 0),))]
        true_answer_rejection(logits, logits.logsumexp(-1), row).backward()
        assert logits.grad is not None
        pushes.append(float(logits.grad[0, 0]))
    assert 0.5 < pushes[0] < pushes[1] <= pushes[2] <= 1.001


def test_a_negative_is_told_by_its_likeliest_true_answer() -> None:
    probabilities = torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.2, 0.7], [0.25, 0.25, 0.5], [0.6, 0.3, 0.1]])
    rows = [
        TrainingRow(Encoded((1,), (1, 1)), ((0, 1), (1, 2))),
        TrainingRow(Encoded((1,), (1,))),
        TrainingRow(Encoded((1,), (1,)), ((0, 2),)),
    ]
    # Without a way nothing is known, so the negative counts as told.
    told = true_answer_probability(probabilities.log(), torch.zeros(4), rows)
    torch.testing.assert_close(told, torch.tensor([0.7, 1.0, 0.1]))


def test_a_negative_is_pushed_less_the_less_probable_its_true_answer_is(tiny_model: LoadedModel) -> None:
    row = negative_row(tiny_model.chat, negative("The capital of France is Oslo.", "Oslo"), FACT)
    place, paris = row.true_ways[0]
    unlikely = next(token for token in range(10, 100) if token not in (paris, row.row.response[place]))
    rows = [row, TrainingRow(row.row, ((place, unlikely),))]

    def step(release: float) -> StepResult:
        settings = resolve({"adapter": "lora", "anchors": 0, "rejection_weight": 0.0, "release": release})
        adapters.attach(tiny_model, settings, None)
        try:
            return forward_backward(
                tiny_model,
                ResponseForward(tiny_model),
                rows,
                [],
                settings,
                accelerator=Accelerator(cpu=True),
                parameters=adapters.trained(tiny_model.model),
            )
        finally:
            adapters.detach(tiny_model)

    whole, eased = step(0.0), step(0.1)
    told = whole.told
    assert told[0] > 0.1 > told[1] > 0, "one is still known, the other was never likely"
    # Both rows are the same text, so each has half of the loss.
    expected = whole.losses["negative_loss"] * (1 + told[1] / 0.1) / 2
    assert eased.losses["negative_loss"] == pytest.approx(expected, rel=1e-4)
