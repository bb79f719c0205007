"""Adapters find their place in every family, start as nothing, and are on disk what they were in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM

from architectures import CONFIGS, make_random
from lune import adapters
from lune.builtin import UPSTREAM_ID
from lune.errors import ConfigError, ModelError, RunError
from lune.models import LoadedModel, load_model
from lune.settings import BUILT_IN_MODEL, AdapterKind, resolve
from tiny import CAPITALS, question

PROMPTS = [question(country) for country in CAPITALS]
PROJECTIONS = {"llama": 7, "mistral": 7, "qwen2": 7, "gemma": 7, "phi": 6, "gpt2": 4, "gpt_neox": 4}
DOWN = {"phi": "mlp.fc2", "gpt2": "mlp.c_proj", "gpt_neox": "mlp.dense_4h_to_h"}


def keys_for(loaded: LoadedModel, count: int = 2) -> dict[str, torch.Tensor]:
    names = adapters.down_projections(loaded.model, [0, 1])
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.randn(count, adapters.sizes(loaded.model.get_submodule(name))[0], generator=generator)
        for name in names
    }


def move(model: PeftModel) -> None:
    """Give every B some values, as training would."""
    generator = torch.Generator().manual_seed(4)
    moved = {
        name: 0.3 * torch.randn(tensor.shape, generator=generator) if "lora_B" in name else tensor
        for name, tensor in adapters.state(model).items()
    }
    adapters.load_state(model, moved)


# Places.


@pytest.mark.parametrize("family", CONFIGS)
def test_layers_and_projections_are_found_by_what_they_are(family: str) -> None:
    loaded = make_random(family)
    root, blocks = adapters.decoder_layers(loaded.model)
    assert len(blocks) == 2
    names = adapters.projections(loaded.model, [0, 1])
    assert len(names) == 2 * PROJECTIONS[family]
    assert all(name.startswith(f"{root}.") for name in names)
    down = [f"{root}.{layer}.{DOWN.get(family, 'mlp.down_proj')}" for layer in (0, 1)]
    assert adapters.down_projections(loaded.model, [0, 1]) == down
    inner = adapters.sizes(loaded.model.get_submodule(down[0]))
    assert inner == ((128, 32) if family in {"gpt2"} else (64, 32))


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("kind", [AdapterKind.LORA, AdapterKind.KEYED])
def test_an_adapter_starts_as_nothing_and_acts_once_it_moved(family: str, kind: AdapterKind) -> None:
    loaded = make_random(family)
    pairs = [("What is the capital of France?", "Paris")]
    before = loaded.score(pairs)[0].log_probs
    keyed = kind is AdapterKind.KEYED
    adapters.attach(loaded, resolve({"adapter": kind, "rank": 4}), keys_for(loaded) if keyed else None)
    assert loaded.score(pairs)[0].log_probs == pytest.approx(before, abs=1e-5)
    assert adapters.rank(loaded.model) == (2 if keyed else 4)
    assert adapters.adapted_layers(loaded.model) == [0, 1]
    move(loaded.model)
    assert loaded.score(pairs)[0].log_probs != pytest.approx(before, abs=1e-3)
    adapters.detach(loaded)
    assert loaded.score(pairs)[0].log_probs == pytest.approx(before, abs=1e-5)


def test_a_keyed_adapter_holds_the_keys_and_trains_b_alone(tiny_model: LoadedModel) -> None:
    keys = keys_for(tiny_model)
    adapters.attach(tiny_model, resolve({}), keys)
    trained = {name for name, parameter in tiny_model.model.named_parameters() if parameter.requires_grad}
    assert {name.rsplit(".", 3)[1] for name in trained} == {"lora_B"}
    tensors = adapters.state(tiny_model.model)
    for name, key in keys.items():
        assert torch.equal(tensors[f"base_model.model.{name}.lora_A.weight"], key)
    assert tiny_model.model.peft_config["default"].lora_alpha == 2, "so that the update is B A x itself"


def test_modules_may_have_different_numbers_of_keys(tiny_folder: Path, tmp_path: Path) -> None:
    loaded = load_model(str(tiny_folder), dtype="float32")
    keys = {name: a[:rows] for (name, a), rows in zip(keys_for(loaded, 3).items(), (3, 1), strict=True)}
    adapters.attach(loaded, resolve({}), keys)
    assert adapters.rank(loaded.model) == 3
    layers = {name: loaded.model.base_model.model.get_submodule(name) for name in keys}
    assert [layer.scaling["default"] for layer in layers.values()] == [1.0, 1.0], "the update is B A x itself"
    assert [layer.lora_B["default"].weight.shape[1] for layer in layers.values()] == [3, 1]
    move(loaded.model)
    prompts = ["What is the capital of France?", "What is the capital of Japan?"]
    expected = loaded.score([(prompt, "Paris") for prompt in prompts])
    adapters.save(loaded.model, tmp_path / "adapter")
    again = adapters.reload(load_model(str(tiny_folder), dtype="float32"), tmp_path / "adapter")
    assert again.score([(prompt, "Paris") for prompt in prompts]) == expected
    merged = adapters.merged(again).score([(prompt, "Paris") for prompt in prompts])
    assert merged[0].log_probs == pytest.approx(expected[0].log_probs, abs=1e-4)


def test_the_papers_recipe_trains_both_factors_of_all_projections_with_dropout(tiny_model: LoadedModel) -> None:
    settings = resolve({"recipe": "lune-paper"})
    adapters.attach(tiny_model, settings, None)
    trained = {name for name, parameter in tiny_model.model.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * 2 * 7  # A and B, two layers, seven projections
    assert len(adapters.trained(tiny_model.model)) == len(trained)
    assert {name.rsplit(".", 3)[1] for name in trained} == {"lora_A", "lora_B"}
    assert adapters.adapted_kinds(tiny_model.model) == sorted(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
    dropouts = [module.p for module in tiny_model.model.modules() if isinstance(module, nn.Dropout)]
    assert dropouts == [0.05] * 14
    assert adapters.rank(tiny_model.model) == 16


def test_the_seed_decides_the_start(tiny_folder: Path) -> None:
    def start(seed: int) -> torch.Tensor:
        loaded = make_random("llama")
        adapters.attach(loaded, resolve({"adapter": "lora", "seed": seed}), None)
        return next(tensor for name, tensor in adapters.state(loaded.model).items() if "lora_A" in name)

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


@pytest.mark.parametrize(
    ("text", "total", "kind", "expected"),
    [
        ("all", 3, AdapterKind.KEYED, [0, 1, 2]),
        ("auto", 3, AdapterKind.LORA, [0, 1, 2]),
        ("auto", 30, AdapterKind.KEYED, list(range(2, 26))),
        ("auto", 1, AdapterKind.KEYED, [0]),
        ("auto", 2, AdapterKind.KEYED, [0, 1]),
        ("top:2", 5, AdapterKind.LORA, [3, 4]),
        ("1-3", 5, AdapterKind.LORA, [1, 2, 3]),
    ],
)
def test_layers_are_read(text: str, total: int, kind: AdapterKind, expected: list[int]) -> None:
    assert adapters.chosen_layers(text, total, kind) == expected


@pytest.mark.parametrize("text", ["top:6", "3-1", "0-5", "top:x", "some"])
def test_layers_that_are_not_there_are_an_error_that_says_what_is(text: str) -> None:
    with pytest.raises(ConfigError, match=r"allowed: all, auto, top:K with K up to 5, or A-B within 0-4"):
        adapters.chosen_layers(text, 5, AdapterKind.LORA)


def test_a_network_without_blocks_or_down_projections_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no list of decoder layers"):
        adapters.decoder_layers(nn.Linear(2, 2))
    loaded = make_random("llama")
    for block in loaded.model.model.layers:
        block.mlp = nn.Identity()
    with pytest.raises(ModelError, match=r"no feed-forward down-projection") as caught:
        adapters.down_projections(loaded.model, [0])
    assert caught.value.hint == "use --adapter lora"


# On disk.


def saved(loaded: LoadedModel, folder: Path, keys: dict[str, torch.Tensor] | None) -> list[str]:
    """Attach, move and save an adapter; return the answers it gives."""
    adapters.attach(loaded, resolve({"adapter": "lora" if keys is None else "keyed"}), keys)
    move(loaded.model)
    adapters.save(loaded.model, folder)
    return loaded.answer(PROMPTS)


@pytest.mark.parametrize("keyed", [True, False])
def test_an_adapter_read_back_is_the_one_that_was_saved(tiny_model: LoadedModel, tmp_path: Path, keyed: bool) -> None:
    before = tiny_model.answer(PROMPTS)
    changed = saved(tiny_model, tmp_path / "adapter", keys_for(tiny_model) if keyed else None)
    assert changed != before
    tensors = adapters.state(tiny_model.model)
    adapters.detach(tiny_model)
    assert tiny_model.answer(PROMPTS) == before
    again = adapters.reload(tiny_model, tmp_path / "adapter")
    assert again.answer(PROMPTS) == changed
    for name, tensor in adapters.state(again.model).items():
        assert torch.equal(tensor, tensors[name]), name
    assert adapters.check_same(changed, again.answer(PROMPTS)) == f"{len(PROMPTS)} of {len(PROMPTS)}"


@pytest.mark.parametrize("keyed", [True, False])
def test_plain_peft_loads_the_adapter(tiny_model: LoadedModel, tiny_folder: Path, tmp_path: Path, keyed: bool) -> None:
    saved(tiny_model, tmp_path / "adapter", keys_for(tiny_model) if keyed else None)
    ids = torch.tensor([tiny_model.chat.encode(question("France")).ids])
    base = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
    plain: Any = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    with torch.no_grad():
        torch.testing.assert_close(plain(ids).logits, tiny_model.model(ids).logits)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_folder)
    assert all("lora_" in name for name in load_file(tmp_path / "adapter" / "adapter_model.safetensors"))


def test_the_built_in_model_is_recorded_by_its_published_name(tiny_model: LoadedModel) -> None:
    tiny_model.id = BUILT_IN_MODEL
    adapters.attach(tiny_model, resolve({}), keys_for(tiny_model))
    assert tiny_model.model.peft_config["default"].base_model_name_or_path == UPSTREAM_ID
    assert f"base_model: {UPSTREAM_ID}" in adapters.card(tiny_model, "PARTLY", "USR 0.500")


def test_an_adapter_of_another_model_is_refused(tiny_model: LoadedModel, tmp_path: Path) -> None:
    saved(tiny_model, tmp_path / "adapter", None)
    for family in ("gpt2", "llama"):
        with pytest.raises(ModelError, match=r"holds no adapter for"):
            adapters.reload(make_random(family), tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"holds no adapter for"):
        adapters.reload(make_random("llama"), tmp_path)


# Integrity.


def test_an_adapter_that_did_not_move_or_broke_is_an_error(tiny_model: LoadedModel) -> None:
    adapters.attach(tiny_model, resolve({}), keys_for(tiny_model))
    with pytest.raises(RunError, match=r"2 of 2 B matrices are still zero") as caught:
        adapters.check_moved(tiny_model.model)
    assert len(caught.value.problems) == 2
    move(tiny_model.model)
    assert adapters.check_moved(tiny_model.model) == "2 of 2"
    tensors = adapters.state(tiny_model.model)
    name = next(name for name in tensors if "lora_B" in name)
    adapters.load_state(tiny_model.model, {**tensors, name: tensors[name] * float("nan")})
    with pytest.raises(RunError, match=r"1 hold numbers that are not finite"):
        adapters.check_moved(tiny_model.model)


def test_a_reload_that_answers_differently_is_an_error() -> None:
    with pytest.raises(RunError, match=r"answers 1 of 2 prompts differently") as caught:
        adapters.check_same(["a", "b"], ["a", "c"])
    assert caught.value.problems == ("'b' became 'c'",)


def test_the_size_that_is_foretold_is_that_of_the_file(tiny_model: LoadedModel, tmp_path: Path) -> None:
    adapters.attach(tiny_model, resolve({"adapter": "lora", "rank": 64}), None)
    foretold = adapters.megabytes(tiny_model.model)
    adapters.save(tiny_model.model, tmp_path)
    written = (tmp_path / "adapter_model.safetensors").stat().st_size / 1e6
    assert foretold == pytest.approx(written, rel=0.02)  # the file has a header
