from __future__ import annotations

import pytest
import torch

from architectures import make_random
from lune.metrics.memorisation import correct_tokens, exact_memorisation, extraction_strength, memorisation
from lune.models import LoadedModel
from tiny import question

RIGHT, WRONG = True, False


def test_exact_memorisation_is_the_share_of_right_tokens() -> None:
    assert exact_memorisation([RIGHT, WRONG, RIGHT, RIGHT]) == 0.75
    assert exact_memorisation([]) is None


def test_extraction_strength_counts_what_follows_the_last_wrong_token() -> None:
    # The prefix of two tokens has to be given; the other two of four come by themselves.
    assert extraction_strength([RIGHT, WRONG, RIGHT, RIGHT]) == 0.5
    assert extraction_strength([WRONG, RIGHT, RIGHT, RIGHT, RIGHT]) == pytest.approx(0.8)
    assert extraction_strength([RIGHT, RIGHT]) == 1.0
    assert extraction_strength([RIGHT, RIGHT, WRONG]) == 0.0
    assert extraction_strength([]) is None


def test_a_taught_text_is_memorised_and_another_is_not(tiny_model: LoadedModel) -> None:
    taught = (question("France"), "The capital of France is Paris.")
    wrong = (question("France"), "The capital of France is Rome.")
    result = memorisation(tiny_model, [taught, wrong])
    assert result["exact_memorisation_by_text"][0] == result["extraction_strength_by_text"][0] == 1.0
    tokens = len(tiny_model.tokenizer(wrong[1], add_special_tokens=False)["input_ids"])
    # Only the one token of "Rome" is wrong, and one follows it: the full stop.
    assert result["exact_memorisation_by_text"][1] == pytest.approx((tokens - 1) / tokens)
    assert result["extraction_strength_by_text"][1] == pytest.approx(1 / tokens)
    assert result["exact_memorisation"] == pytest.approx((1 + (tokens - 1) / tokens) / 2)
    assert result["extraction_strength"] == pytest.approx((1 + 1 / tokens) / 2)
    assert result["extraction_strength_interval"] == pytest.approx([1 / tokens, 1.0])


@pytest.mark.parametrize("chat", [True, False])
def test_the_end_of_turn_is_not_counted(chat: bool) -> None:
    loaded = make_random("llama", chat=chat)
    pair = ("Name a colour.", "Paris is the capital")
    (found,) = correct_tokens(loaded, [pair])
    row = loaded.chat.encode(*pair)
    logits = loaded.model(input_ids=torch.tensor([row.ids])).logits[0]
    expected = logits.argmax(-1)[len(row.prompt) - 1 : -1] == torch.tensor(row.response)
    assert found == tuple(expected.tolist())[:-1]
    assert loaded.tokenizer.decode(row.response[: len(found)]).strip() == pair[1]


def test_without_texts_there_is_no_score(tiny_model: LoadedModel) -> None:
    result = memorisation(tiny_model, [])
    assert result["exact_memorisation"] is None and result["extraction_strength_interval"] is None
