"""The arms of the speed benchmark on a tiny model: each trains, is measured, and forgets. No time is asserted."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import answering, arms, growth, material, rivals  # noqa: E402  (the line above makes it importable)
from benchmarks.plan import BATCH, LUNE, RIVALS, STEP_PASSES  # noqa: E402
from lune.evaluation import RememberedAnswers  # noqa: E402
from lune.models import LoadedModel, load_model  # noqa: E402
from lune.preparation import prepare  # noqa: E402
from lune.settings import resolve  # noqa: E402
from tiny import fact  # noqa: E402

HAS_TRL = importlib.util.find_spec("trl") is not None
STEPS = 2
RIVAL_ARMS = [
    pytest.param(arm, marks=pytest.mark.skipif(arm == "trl-peft" and not HAS_TRL, reason="trl is not installed"))
    for arm in RIVALS
]

pytestmark = pytest.mark.usefixtures("only_taught")


@pytest.fixture(scope="module")
def made(tiny_folder: Path, only_taught: None) -> material.Material:
    """A request of two facts, with rows for two steps."""
    model = load_model(str(tiny_folder), dtype="float32")
    request = prepare([fact("France"), fact("Japan")], RememberedAnswers(model), resolve({"anchors": 40}))
    whole = material.with_rows(model, request, None, None)
    count = STEPS * BATCH
    return replace(whole, step_negatives=whole.step_negatives[:count], step_anchors=whole.step_anchors[:count])


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings for a model of two layers and a width of 64."""
    lora = {**LUNE["lune-all"], "learning_rate": 2e-3, "dtype": "float32"}
    monkeypatch.setitem(LUNE, "lune-all", lora)
    monkeypatch.setitem(LUNE, "lune-fast", {**lora, "layers": "top:1"})
    monkeypatch.setitem(LUNE, "lune", {"learning_rate": 0.5, "passes": 10, "anchor_weight": 2.0, "dtype": "float32"})
    yield


def check_steps(told: dict[str, Any]) -> None:
    # Of two steps a pass the second has a step before it, and the first of three passes is a warm-up.
    assert len(told["step_s"]) == (STEP_PASSES - 1) * (STEPS - 1)
    assert told["step_tokens_per_s"] > 0
    assert told["memory_above_weights_mb"] >= 0


def check_forgetting(told: dict[str, Any]) -> None:
    assert told["passes"]
    assert told["reached"] == (told["time_to_forget_s"] is not None) == (not told["reason"])
    assert all(row["total_s"] > row["training_s"] > 0 for row in told["passes"])
    seconds = [row["training_s"] for row in told["passes"]]
    assert seconds == sorted(seconds)
    assert told["usr"] == told["passes"][-1]["usr"]


@pytest.mark.parametrize("arm", list(LUNE))
@pytest.mark.usefixtures("settings")
def test_this_projects_arms_are_timed_over_the_given_rows(
    arm: str, tiny_model: LoadedModel, made: material.Material
) -> None:
    told = arms.steps(arm, tiny_model, made)
    check_steps(told)
    rows = material.tokens(tiny_model, made.step_negatives)
    held = material.tokens(tiny_model, made.step_anchors) if arm == "lune" else 0
    assert told["tokens_a_step"] == pytest.approx((rows + held) / STEPS), "anchors are rows of the default recipe"
    # Rank 16 over (inputs + outputs) of seven maps of a layer: q, o 64+64, k, v 64+32, gate, up, down 64+128.
    a_layer = 16 * (2 * 128 + 2 * 96 + 3 * 192)
    expected = {"lune-all": 2 * a_layer, "lune-fast": a_layer}
    assert told["trainable_parameters"] == expected.get(arm, told["trainable_parameters"])


@pytest.mark.parametrize("arm", ["lune-all", "lune"])
@pytest.mark.usefixtures("settings")
def test_this_projects_arms_forget(arm: str, tiny_model: LoadedModel, made: material.Material) -> None:
    told = arms.forget(arm, tiny_model, made.request, rate=None, seed=0)
    check_forgetting(told)
    assert told["passes"][-1]["usr"] >= 0.5
    assert told["learning_rate"] == LUNE[arm]["learning_rate"]


@pytest.mark.parametrize("arm", RIVAL_ARMS)
def test_a_rivals_trainer_is_timed_over_the_given_rows(
    arm: str, tiny_folder: Path, made: material.Material, tmp_path: Path
) -> None:
    told = rivals.steps(arm, str(tiny_folder), made, tmp_path)
    check_steps(told)
    model, _ = rivals.load_plain(str(tiny_folder))
    whole = sum(parameter.numel() for parameter in model.parameters())
    assert told["trainable_parameters"] == (whole if arm.startswith("full-ft") else 2 * 16 * (256 + 192 + 576))


@pytest.mark.parametrize("arm", RIVAL_ARMS)
def test_a_rivals_trainer_forgets_and_is_stopped_at_the_goal(
    arm: str, tiny_folder: Path, made: material.Material, tmp_path: Path
) -> None:
    rate = 2e-3 if arm.startswith("full-ft") else 2e-2
    told = rivals.forget(arm, str(tiny_folder), made.request, rate=rate, seed=0, folder=tmp_path, most=6)
    check_forgetting(told)
    assert told["usr"] == 1.0
    assert not told["reached"] or told["passes_to_forget"] == len(told["passes"])


@pytest.mark.parametrize("arm", RIVAL_ARMS)
def test_a_rival_is_judged_by_the_weights_it_has(
    arm: str, tiny_folder: Path, made: material.Material, tmp_path: Path
) -> None:
    model, tokenizer = rivals.load_plain(str(tiny_folder))
    judge = load_model(str(tiny_folder))
    prompts = [probe.prompt for probe in made.request.test]
    before = judge.answer(prompts)
    trainer = rivals.make_trainer(
        arm,
        model,
        tokenizer,
        made.step_negatives,
        rate=1e-2,
        passes=2,
        seed=0,
        folder=tmp_path,
        watcher=rivals._Watcher(lambda _: None, lambda _: False),
    )
    trainer.train()
    rivals.show(judge, trainer.model)
    after = judge.answer(prompts)
    assert after != before
    plain = trainer.model.eval().float()
    expected = answering.generate(plain, tokenizer, prompts, 1)
    if arm in ("full-ft-fp32", "trainer-peft"):  # the others answer in mixed precision themselves
        firsts = [text.splitlines()[0].strip() if text else "" for text in expected]
        assert firsts == after


def test_both_ways_of_generating_and_this_projects_answer_the_same(tiny_folder: Path) -> None:
    prompts = [fact(country).prompt for country in ("France", "Japan", "Italy", "Spain")]
    told = {way: answering.measure(way, str(tiny_folder), prompts) for way in ("one-by-one", "batched-16", "lune")}
    assert told["one-by-one"]["answers"] == told["batched-16"]["answers"] == told["lune"]["answers"]
    assert all(each["probes_per_s"] > 0 for each in told.values())


def test_prompts_are_taken_evenly_and_none_twice(made: material.Material) -> None:
    prompts = answering.prompts_of(made.request, 10)
    assert len(prompts) == len(set(prompts)) == 10
    everything = answering.prompts_of(made.request, 10**6)
    assert len(everything) == len(set(everything)) > 10


@pytest.mark.parametrize("size", ["built-in", "wide"])
@pytest.mark.usefixtures("settings")
def test_growth_trains_one_whole_pass_over_the_first_facts(
    size: str, tiny_folder: Path, made: material.Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "WIDE_FAST_LAYERS", "top:1")
    model = growth.load(size, str(tiny_folder))
    width = 64 if size == "built-in" else 256
    assert model.model.config.hidden_size == width
    told = growth.measure("lune-fast", size, model, made.request, 1)
    first = [row for row in made.request.made.negatives if row.fact_id == made.request.facts[0].id]
    assert told["negatives"] == len(first)
    assert told["steps"] == -(-len(first) // BATCH)
    assert told["stage_s"] > told["pass_s"] > 0


def test_many_facts_have_negatives_and_different_subjects(tiny_model: LoadedModel, made: material.Material) -> None:
    many = material.many_facts(tiny_model, made.request, most=12)
    assert len({each.subject for each in many.facts}) == len(many.facts) == 12
    assert {negative.fact_id for negative in many.made.negatives} == {each.id for each in many.facts}
    some = material.first_facts(many, 3)
    assert [each.id for each in some.facts] == [each.id for each in many.facts[:3]]
    assert len(some.made.negatives) < len(many.made.negatives)
    assert not many.dev and not many.test


def test_the_material_is_read_back_as_it_was_stored(made: material.Material, tmp_path: Path) -> None:
    material.store(made, tmp_path / "folder" / "material.pickle")
    assert material.read(tmp_path / "folder" / "material.pickle") == made
