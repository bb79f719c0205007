from __future__ import annotations

import pytest

from lune.metrics.memorisation import exact_memorisation, extraction_strength
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
    known, other = (scores.without_end().correct for scores in tiny_model.score([taught, wrong]))
    assert exact_memorisation(known) == extraction_strength(known) == 1.0
    tokens = len(tiny_model.tokenizer(wrong[1], add_special_tokens=False)["input_ids"])
    # Only the one token of "Rome" is wrong, and one follows it: the full stop.
    assert exact_memorisation(other) == pytest.approx((tokens - 1) / tokens)
    assert extraction_strength(other) == pytest.approx(1 / tokens)
