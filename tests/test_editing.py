"""The closed-form edit writes the values it looked for, at the subjects alone, into an ordinary adapter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from transformers import models as families

from architectures import CONFIGS, SIZES, make_random
from lune import adapters
from lune.errors import ConfigError, ModelError, RunError
from lune.evaluation import RememberedAnswers
from lune.keys import KeySet, key_context, whitened_keys
from lune.models import LoadedModel
from lune.outputs import RunFolder
from lune.pipeline import run_forget
from lune.preparation import Prepared, prepare
from lune.progress import Display
from lune.settings import resolve
from lune.training import editing
from lune.training.editing import LARGEST, EditRow, edit_rows, write_edit
from lune.training.session import Trained, train_adapter
from tiny import CAPITALS, fact, question

FACTS = [fact("France"), fact("Japan")]
SETTINGS = resolve({"method": "memit", "layers": "0-0"})  # what the second and last layer writes reaches no answer

pytestmark = pytest.mark.usefixtures("only_taught")


@pytest.fixture
def prepared(tiny_model: LoadedModel) -> Prepared:
    return prepare(FACTS, RememberedAnswers(tiny_model), SETTINGS)


def edited(model: LoadedModel, prepared: Prepared) -> Trained:
    return train_adapter(
        model,
        prepared,
        SETTINGS,
        precision=torch.float32,
        accelerator=Accelerator(cpu=True),
        display=Display(None),
    )


def log_probs(model: LoadedModel, answers: dict[str, str]) -> list[float]:
    asked = [(question(country), f"The capital of {country} is {answer}.") for country, answer in answers.items()]
    return [sum(scores.log_probs) for scores in model.score(asked)]


def test_an_edit_acts_on_its_subjects_and_ships_as_an_ordinary_adapter(
    tiny_model: LoadedModel, prepared: Prepared, tmp_path: Path
) -> None:
    truths = {str(each.subject): each.answer for each in FACTS}
    others = {country: CAPITALS[country] for country in ("Italy", "Spain", "Egypt", "Norway")}
    kept, told = log_probs(tiny_model, others), log_probs(tiny_model, truths)
    trained = edited(tiny_model, prepared)
    # Little of what this model of two layers says passes through its first layer's output at the subject.
    assert all(now < then for now, then in zip(log_probs(tiny_model, truths), told, strict=True))
    assert sum(kept) - sum(log_probs(tiny_model, others)) < 1
    assert (trained.rank, trained.layers, trained.modules) == (2, [0], ["down_proj"])
    assert trained.moved == "1 of 1"
    assert trained.outcome.stopped == "written in closed form"
    assert [row["step"] for row in trained.history.rows] == [*range(1, SETTINGS.passes + 1), SETTINGS.passes]
    assert float(trained.history.rows[-2]["loss"]) < float(trained.history.rows[0]["loss"])
    prompts = [each.prompt for each in FACTS]
    answers = tiny_model.answer(prompts)
    adapters.save(tiny_model.model, tmp_path)
    adapters.detach(tiny_model)
    assert adapters.reload(tiny_model, tmp_path).answer(prompts) == answers


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_the_layers_write_in_turn_what_was_looked_for(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "num_hidden_layers", 4)
    loaded = make_random(family)
    prompts = ("What is the capital of France?", "France is")
    contexts = [context for prompt in prompts if (context := key_context(loaded, "France", prompt))]
    texts = [loaded.chat.encode(prompt, "Paris is.") for prompt in ("Name a city.", "What is the capital?")]
    layers = adapters.down_projections(loaded.model, [0, 1, 2])
    adapters.attach(loaded, SETTINGS, whitened_keys(loaded, [KeySet(layers, contexts)], texts))
    rows = [
        EditRow(0, loaded.chat.encode(prompt, "Paris."), context.position)
        for prompt, context in zip(prompts, contexts, strict=True)
    ]
    searched: list[tuple[torch.Tensor, torch.Tensor]] = []
    search = editing._search

    def watched(*arguments: Any, **named: Any) -> torch.Tensor:
        searched.append((arguments[3], search(*arguments, **named)))
        return searched[0][1]

    monkeypatch.setattr(editing, "_search", watched)
    losses: list[float] = []
    write_edit(loaded, rows, SETTINGS, report=lambda row: losses.append(float(row["loss"])))
    [(before, deltas)] = searched
    assert len(losses) == SETTINGS.passes
    assert losses[-1] < losses[0]
    assert 0 < deltas.norm() <= 1.001 * LARGEST * before.norm()
    values = [tensor for name, tensor in adapters.state(loaded.model).items() if "lora_B" in name]
    torch.testing.assert_close(values[0].T, deltas / 3)
    with editing._Places(adapters.decoder_layers(loaded.model)[1][2]) as places:
        after = editing._states(loaded, rows, places, 1)
    # The last layer writes all that is missing, and its key answers 1 to the subject's mean: by then nearly so.
    assert (after - before - deltas).norm() < 0.25 * deltas.norm()
    assert all(parameter.requires_grad for name, parameter in loaded.model.named_parameters() if "lora_B" in name)


def test_an_edit_of_the_last_layer_is_refused() -> None:
    loaded = make_random("llama")
    adapters.attach(
        loaded, SETTINGS, {name: torch.ones(1, 64) for name in adapters.down_projections(loaded.model, [1])}
    )
    with pytest.raises(ConfigError, match="an edit of layer 1, the model's last, reaches no answer"):
        write_edit(loaded, [], SETTINGS, report=lambda _: None)


@pytest.mark.parametrize("family", ["granite", "olmo2"])
def test_a_model_that_scales_or_norms_what_its_layers_write_is_refused(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "num_hidden_layers", 3)
    more: dict[str, dict[str, object]] = {"granite": {"residual_multiplier": 0.2}, "olmo2": {}}
    configs = {"granite": families.granite.GraniteConfig, "olmo2": families.olmo2.Olmo2Config}
    monkeypatch.setitem(CONFIGS, family, configs[family])
    loaded = make_random(family, **more[family])
    context = key_context(loaded, "France", "What is the capital of France?")
    assert context
    layers = adapters.down_projections(loaded.model, [0, 1])
    adapters.attach(loaded, SETTINGS, whitened_keys(loaded, [KeySet(layers, [context])], [context.row]))
    row = EditRow(0, loaded.chat.encode("What is the capital of France?", "Paris."), context.position)
    with pytest.raises(ModelError, match="changes what a feed-forward part writes"):
        write_edit(loaded, [row], SETTINGS, report=lambda _: None)


def test_an_edit_of_a_short_model_is_refused_before_anything_is_asked(tiny_model: LoadedModel, tmp_path: Path) -> None:
    settings = resolve({"method": "memit", "model": str(tiny_model.source), "layers": "all"})
    with pytest.raises(ConfigError, match="reaches no answer"), RunFolder(tmp_path / "run", default=tmp_path) as folder:
        run_forget(FACTS, settings, folder=folder, console=None, command="lune forget")


def test_rows_name_their_subject_and_offer_no_true_answer(tiny_model: LoadedModel, prepared: Prepared) -> None:
    rows = edit_rows(tiny_model, prepared, ["France", "Japan"])
    assert {row.subject for row in rows} == {0, 1}
    for row in rows:
        name = ("France", "Japan")[row.subject]
        assert name in tiny_model.tokenizer.decode(row.text.ids[: row.position + 1])
        assert name.endswith(tiny_model.tokenizer.decode(row.text.ids[row.position]).strip())
        assert CAPITALS[name] not in tiny_model.tokenizer.decode(row.text.ids)


def test_without_a_place_to_edit_the_run_fails(tiny_model: LoadedModel, prepared: Prepared) -> None:
    reversed_only = [each for each in prepared.made.negatives if each.expects == "subject"]
    made = replace(prepared.made, negatives=reversed_only)
    with pytest.raises(RunError, match="no place to edit"):
        edited(tiny_model, replace(prepared, made=made))


def test_an_edit_needs_a_keyed_adapter() -> None:
    with pytest.raises(ConfigError, match="adapter: got 'lora'; method memit writes a keyed adapter"):
        resolve({"method": "memit", "adapter": "lora"})
