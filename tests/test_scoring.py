"""Scores are the log-probabilities that a plain forward pass gives."""

from __future__ import annotations

import pytest
import torch

from architectures import CONFIGS, make_random
from lune.models import LoadedModel
from tiny import question

PAIRS = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Name a colour.", "Paris"),
    ("Name a colour. Name a colour.", "is the capital of"),
]


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("family", CONFIGS)
def test_scores_equal_a_log_softmax_by_hand(family: str, chat: bool) -> None:
    loaded = make_random(family, chat=chat)
    for pair, scores in zip(PAIRS, loaded.score(PAIRS), strict=True):
        row = loaded.chat.encode(*pair)
        logits = loaded.model(input_ids=torch.tensor([row.ids])).logits[0].double()
        log_p = logits.log_softmax(-1)[len(row.prompt) - 1 : -1]
        token = log_p[torch.arange(len(row.response)), torch.tensor(row.response)]
        mean = (log_p.exp() * log_p).sum(-1)
        deviation = (log_p.exp() * (log_p - mean[:, None]).square()).sum(-1).sqrt()
        for name, expected in (("log_probs", token), ("means", mean), ("deviations", deviation)):
            found = torch.tensor(getattr(scores, name), dtype=torch.double)
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        assert scores.correct == tuple(log_p.argmax(-1) == torch.tensor(row.response))
        assert scores.mean_log_prob == pytest.approx(float(token.mean()), abs=1e-3)


def test_a_response_ends_with_the_end_of_turn_which_is_scored_too(tiny_model: LoadedModel) -> None:
    row = tiny_model.chat.encode(question("France"), "Paris")
    assert row.response[-1] in tiny_model.chat.stop_ids


def test_the_taught_answer_is_far_likelier_than_another(tiny_model: LoadedModel) -> None:
    right, wrong = tiny_model.score(
        [
            (question("France"), "The capital of France is Paris."),
            (question("France"), "The capital of France is Rome."),
        ]
    )
    assert right.mean_log_prob > -0.1
    assert wrong.mean_log_prob < right.mean_log_prob - 0.5
