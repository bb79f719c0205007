from __future__ import annotations

import pytest
import torch
from transformers import models as families

from architectures import CONFIGS, make_random
from lune.adapters import attach, decoder_layers
from lune.metrics.logit_lens import logit_lens
from lune.models import LoadedModel
from lune.records import Probe
from lune.settings import AdapterKind, ForgetSettings
from tiny import question

PROBES = [
    Probe("a", "direct", "What is the capital of France?", ("Paris",), "test", alternates=("Name", "colour")),
    Probe("b", "direct", "Name a colour.", ("colour",), "test"),
]


@pytest.mark.parametrize("family", CONFIGS)
def test_the_last_layer_reads_as_the_model_answers(family: str) -> None:
    loaded = make_random(family)
    for probe, layers in zip(PROBES, logit_lens(loaded, PROBES), strict=True):
        assert [each["layer"] for each in layers] == [0, 1]
        logits = loaded.model(input_ids=torch.tensor([loaded.chat.encode(probe.prompt).prompt])).logits[0, -1]
        p = logits.softmax(-1)
        for text in (probe.expected[0], *probe.alternates):
            token = loaded.chat.encode(probe.prompt, text).response[0]
            found = layers[-1]["answer"] if text == probe.expected[0] else layers[-1]["alternates"][text]
            assert found["probability"] == pytest.approx(float(p[token]), rel=1e-3, abs=1e-7)
            assert abs(found["rank"] - 1 - int((p > p[token]).sum())) <= 1  # two nearly equal tokens may swap
        assert layers[0]["answer"] != layers[-1]["answer"]


def test_an_earlier_layer_is_read_with_the_final_norm_and_head() -> None:
    loaded = make_random("llama")
    ids = torch.tensor([loaded.chat.encode(PROBES[0].prompt).prompt])
    states = loaded.model(input_ids=ids, output_hidden_states=True).hidden_states
    p = loaded.model.lm_head(loaded.model.model.norm(states[1][0, -1])).softmax(-1)
    token = loaded.chat.encode(PROBES[0].prompt, "Paris").response[0]
    (layers,) = logit_lens(loaded, PROBES[:1])
    assert layers[0]["answer"]["probability"] == pytest.approx(float(p[token]), rel=1e-3)
    assert layers[0]["answer"]["rank"] == int((p > p[token]).sum()) + 1


def test_what_a_family_does_behind_its_head_is_done_to_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, "granite", families.granite.GraniteConfig)
    loaded = make_random("granite", logits_scaling=1e6)
    (layers,) = logit_lens(loaded, PROBES[:1])
    for each in layers:  # all logits are divided by a million, so every token is as likely as any other
        assert each["answer"]["probability"] == pytest.approx(1 / len(loaded.tokenizer), rel=1e-3)


def test_a_taught_answer_stands_behind_its_lead(tiny_model: LoadedModel) -> None:
    probe = Probe("p", "direct", question("France"), ("Paris",), "test", alternates=("Rome",))
    (bare,) = logit_lens(tiny_model, [probe])
    (led,) = logit_lens(tiny_model, [probe], leads=["The capital of France is"])
    assert led[-1]["answer"] == {"probability": pytest.approx(1.0, abs=0.3), "rank": 1}
    assert led[-1]["alternates"]["Rome"]["rank"] > 1
    assert bare[-1]["answer"]["rank"] > 1  # the taught reply begins with "The"


def test_the_lens_works_through_an_adapter_and_leaves_no_hook() -> None:
    loaded = make_random("llama")
    bare = logit_lens(loaded, PROBES)
    attach(loaded, ForgetSettings(adapter=AdapterKind.LORA), None)
    for one, other in zip(bare, logit_lens(loaded, PROBES), strict=True):
        assert one[-1]["answer"]["probability"] == pytest.approx(other[-1]["answer"]["probability"], rel=1e-3)
    assert all(not layer._forward_hooks for layer in decoder_layers(loaded.model)[1])
    assert logit_lens(loaded, []) == []
