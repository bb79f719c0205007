"""Literal openings of an answer, raw text, answers past a newline, and next-token choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from lune.chat import ChatFormat
from lune.generation import Chooser, decode
from lune.models import LoadedModel
from tiny import START, make_tokenizer, question

WORDS = ["Where is it? Answer: Paris France capital"]


def test_an_opening_stands_behind_the_generation_prompt_and_the_response_is_left_open() -> None:
    chat = ChatFormat(make_tokenizer(WORDS), opening="Answer:")
    assert chat.render("Where?").endswith(f"Where?<|end|>\n{START}assistant\nAnswer:")
    encoded = chat.encode("Where?", "Paris")
    assert chat.tokenizer.decode(encoded.response) == " Paris"
    assert chat.tokenizer.decode(encoded.prompt) == chat.render("Where?")


def test_without_a_template_an_opening_follows_the_prompt_alone() -> None:
    tokenizer = make_tokenizer(WORDS, chat=False)
    assert ChatFormat(tokenizer, opening="A:").render("Where?\n") == "Where?\nA:"
    assert ChatFormat(tokenizer, opening="").render("Where?") == "Where?"
    assert ChatFormat(tokenizer).render("Where?") == "Question: Where?\nAnswer:"


def test_raw_text_has_nothing_around_it_and_its_first_token_is_given() -> None:
    chat = ChatFormat(make_tokenizer(WORDS), raw=True)
    assert chat.render("Where?") == "Where?"
    encoded = chat.encode("", "Where is it?")
    assert len(encoded.prompt) == 1
    assert chat.tokenizer.decode(encoded.ids) == "Where is it?"
    joined = chat.encode("Where?\n\n", "Paris")
    assert chat.tokenizer.decode(joined.prompt) == "Where?\n\n"
    assert chat.tokenizer.decode(joined.response) == "Paris"


def test_raw_scores_are_those_of_a_plain_forward_pass(tiny_model: LoadedModel) -> None:
    text = "The capital of France is Paris."
    ids = torch.tensor([tiny_model.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        log_p = tiny_model.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    expected = log_p.gather(-1, ids[0, 1:, None])[:, 0].tolist()
    got = replace(tiny_model, raw=True).score([("", text)])[0].log_probs
    assert got == pytest.approx(expected, abs=1e-4)


def test_next_log_probs_are_the_scores_of_single_tokens_in_the_callers_order(tiny_model: LoadedModel) -> None:
    view = replace(tiny_model, opening="")
    prompts = [question("France"), f"{question('Japan')} Answer briefly.", "Hi"]
    options = ["The", "It"]
    chances = view.next_log_probs(prompts, options)
    for prompt, row in zip(prompts, chances, strict=True):
        assert row == pytest.approx([view.score([(prompt, each)])[0].log_probs[0] for each in options], abs=1e-4)
    assert chances[0][0] > chances[0][1]  # taught: "The capital of France is Paris."


class _Dictated(Chooser):
    """Writes given tokens instead of the likeliest ones."""

    def __init__(self, tokens: Sequence[int]) -> None:
        super().__init__()
        self.left = iter(tokens)

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.tensor([next(self.left)] * len(logits))


@pytest.mark.parametrize(("whole", "answer"), [(False, "aris"), (True, "aris\naris")])
def test_a_newline_ends_an_answer_unless_it_is_wanted_whole(tiny_model: LoadedModel, whole: bool, answer: str) -> None:
    newline, word = (tiny_model.tokenizer(text, add_special_tokens=False)["input_ids"][-1] for text in ("\n", "Paris"))
    answers = decode(
        tiny_model.model,
        tiny_model.tokenizer,
        [tiny_model.chat.encode("x")],
        stop_ids=frozenset(),
        max_new_tokens=3,
        batch_size=1,
        choose=_Dictated([word, newline, word]),
        whole=whole,
    )
    assert answers == [answer]
