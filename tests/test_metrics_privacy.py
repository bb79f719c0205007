from __future__ import annotations

import math

import pytest
import torch

from architectures import CONFIGS, make_random
from lune.adapters import attach, decoder_layers
from lune.language_model import TokenScores
from lune.metrics.gaps import auc_distance, privacy_leak
from lune.metrics.membership import membership
from lune.metrics.privacy import gradient_norm_scores, reference_scores
from lune.models import LoadedModel
from lune.settings import AdapterKind, ForgetSettings
from tiny import question

PAIRS = [("What is the capital of France?", "The capital of France is Paris."), ("Name a colour.", "Paris")]


def test_privacy_leak_by_hand() -> None:
    # 1 - AUC: 0.6 against 0.5 of the reference, 20 % more.
    assert privacy_leak(0.4, 0.5) == pytest.approx(20.0)
    assert privacy_leak(0.7, 0.6) == pytest.approx(-25.0)
    assert privacy_leak(1.0, 0.382) == pytest.approx(-100.0)  # still wholly recognised
    assert privacy_leak(0.55, 0.55) == 0.0
    assert privacy_leak(0.382, 0.5) == pytest.approx(23.6)
    assert privacy_leak(0.5, 1.0) is None and privacy_leak(None, 0.5) is None and privacy_leak(0.5, None) is None


def test_the_distance_of_two_aucs_has_no_sign() -> None:
    assert auc_distance(0.4, 0.5) == pytest.approx(0.1)
    assert auc_distance(0.6, 0.5) == pytest.approx(0.1)
    assert auc_distance(None, 0.5) is None


def scored(*log_probs: float) -> TokenScores:
    return TokenScores(log_probs, (0.0,) * len(log_probs), (1.0,) * len(log_probs))


def test_the_reference_attack_takes_off_what_the_reference_finds_likely() -> None:
    scores = reference_scores([scored(-1.0, -2.0), scored(-1.0)], [scored(-3.0, -4.0), scored(-0.5)])
    assert scores == pytest.approx([2.0, -0.5])
    assert math.isnan(reference_scores([scored()], [scored(-1.0)])[0])


@pytest.mark.parametrize("family", CONFIGS)
def test_the_gradient_is_that_of_a_plain_backward_pass_in_the_last_layer(family: str) -> None:
    loaded = make_random(family)
    found = gradient_norm_scores(loaded, PAIRS)
    layer = decoder_layers(loaded.model)[1][-1]
    assert all(not weight.requires_grad and weight.grad is None for weight in loaded.model.parameters())
    layer.requires_grad_(True)
    for pair, score in zip(PAIRS, found, strict=True):
        row = loaded.chat.encode(*pair)
        log_p = loaded.model(input_ids=torch.tensor([row.ids])).logits[0, len(row.prompt) - 1 : -1].log_softmax(-1)
        loaded.model.zero_grad()
        (-log_p[torch.arange(len(row.response)), torch.tensor(row.response)].mean()).backward()
        gradients = [weight.grad.flatten() for weight in layer.parameters() if weight.grad is not None]
        assert score == pytest.approx(-float(torch.cat(gradients).norm()), rel=1e-3)


def test_an_adapter_that_does_nothing_yet_changes_no_gradient() -> None:
    loaded = make_random("llama")
    bare = gradient_norm_scores(loaded, PAIRS)
    attach(loaded, ForgetSettings(adapter=AdapterKind.LORA), None)
    trained = [name for name, weight in loaded.model.named_parameters() if weight.requires_grad]
    assert gradient_norm_scores(loaded, PAIRS) == pytest.approx(bare, rel=1e-4)
    assert [name for name, weight in loaded.model.named_parameters() if weight.requires_grad] == trained


def test_taught_texts_are_told_from_others_by_both_attacks(tiny_model: LoadedModel) -> None:
    taught = {"France": "Paris", "Japan": "Tokyo", "Italy": "Rome"}
    members = [(question(country), f"The capital of {country} is {capital}.") for country, capital in taught.items()]
    others = [(question(country), f"The capital of {country} is Madrid.") for country in taught]
    flat = [TokenScores((-2.0,), (-2.0,), (1.0,))] * 3
    further = {
        "reference": (
            reference_scores(tiny_model.score(members), flat),
            reference_scores(tiny_model.score(others), flat),
        ),
        "gradnorm": (gradient_norm_scores(tiny_model, members), gradient_norm_scores(tiny_model, others)),
    }
    result = membership([], [], further=further)
    assert result["reference"]["auc"] == result["gradnorm"]["auc"] == 1.0
