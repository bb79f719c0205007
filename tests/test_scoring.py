"""Scores are the log-probabilities that a plain forward pass gives."""

from __future__ import annotations

import pytest
import torch

from architectures import CONFIGS, make_random
from lune.models import LoadedModel
from lune.scoring import score
from tiny import question

PAIRS = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Name a colour.", "Paris"),
    ("Name a colour. Name a colour.", "is the capital of"),
]
OF_ONE_PROMPT = [
    *PAIRS,
    ("Name a colour.", "The capital of France is France."),
    ("What is the capital of France?", "Paris"),
    ("What is the capital of France?", "France is"),
    ("", "Name a colour."),
    ("", "The capital of France"),
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


@pytest.mark.parametrize("family", CONFIGS)
def test_responses_to_one_prompt_get_the_scores_they_get_alone(family: str) -> None:
    loaded = make_random(family)
    alone = [loaded.score([pair])[0] for pair in OF_ONE_PROMPT]
    together = loaded.score(OF_ONE_PROMPT)
    for own, other in zip(together, alone, strict=True):
        for name in ("log_probs", "means", "deviations"):
            torch.testing.assert_close(getattr(own, name), getattr(other, name), rtol=1e-3, atol=1e-3)
        assert own.correct == other.correct


def test_a_prompt_with_several_responses_is_run_once() -> None:
    loaded = make_random("llama")
    prompt, responses = "What is the capital of France? Name a colour.", ["Paris", "France", "is the", "Name", "of"]
    tokens: list[int] = []
    watch = loaded.model.get_input_embeddings().register_forward_pre_hook(
        lambda _module, arguments: tokens.append(arguments[0].numel())
    )
    loaded.score([(prompt, response) for response in responses])
    watch.remove()
    own = [loaded.chat.encode(prompt, response) for response in responses]
    longest = max(len(row.response) for row in own)
    assert sum(tokens) == len(own[0].prompt) - 1 + len(own) * (1 + longest)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_responses_to_one_prompt_may_fall_into_several_batches(size: int) -> None:
    loaded = make_random("llama")
    rows = [loaded.chat.encode(*pair) for pair in OF_ONE_PROMPT if pair[0]]
    whole = score(loaded.model, rows, pad_id=loaded.pad_id, batch_size=32)
    parts = score(loaded.model, rows, pad_id=loaded.pad_id, batch_size=size)
    for own, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(own.log_probs, other.log_probs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("window", [8, 40, 400])
def test_prompts_in_common_respect_a_short_attention_window(window: int) -> None:
    loaded = make_random("mistral", sliding_window=window)
    together = loaded.score(OF_ONE_PROMPT)
    for pair, own in zip(OF_ONE_PROMPT, together, strict=True):
        torch.testing.assert_close(own.log_probs, loaded.score([pair])[0].log_probs, rtol=1e-3, atol=1e-3)


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
