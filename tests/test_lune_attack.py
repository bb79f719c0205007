"""Attacks on a finished run of the tiny model: what they recover, that they repeat, that they leave the base alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from architectures import make_random
from attacked import FORGOTTEN, KEPT, context_of, late_answer, late_context, make_run
from lune import adapters
from lune.attacks import ATTACKS, attack, embedding
from lune.attacks.contract import AttackContext, Finding
from lune.attacks.embedding import VECTORS, spare_tokens, with_suffix
from lune.attacks.finetuning import fine_tune
from lune.attacks.folder import read_attacked_run
from lune.attacks.outcome import AttackResult
from lune.attacks.run import make_attack, run_attacks
from lune.chat import Conversation, Encoded
from lune.cli import main
from lune.errors import ModelError, RequestError, RunError
from lune.language_model import MAX_NEW_TOKENS, PROBE_TOKENS
from lune.models import LoadedModel
from lune.packed_rows import NotPackable
from lune.records import Fact
from lune.settings import resolve
from tiny import question


@pytest.fixture(scope="module")
def run_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as `lune forget` leaves it, of four capitals forgotten by force."""
    return make_run(tiny_folder, tmp_path_factory.mktemp("runs") / "run")


def result_of(name: str, context: AttackContext) -> AttackResult:
    return make_attack(attack(name), context)


def told(result: AttackResult) -> Any:
    return (result.usr_after, result.recovered, result.by_form, result.facts, result.curves, result.base_gives)


# The run folder.


def test_the_run_folder_gives_facts_paraphrases_and_examples(run_folder: Path) -> None:
    run = read_attacked_run(run_folder)
    assert [each.id for each in run.facts] == [country.lower() for country in FORGOTTEN]
    assert run.facts[0].answer == "Paris"
    assert run.facts[0].paraphrases == ("Tell me: What is the capital of France?",)
    assert run.base_answers["france"] == "The capital of France is Paris."
    assert {example.prompt for example in run.examples} == {question(country) for country in KEPT}


def test_a_folder_without_adapter_or_known_facts_is_refused(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text((run_folder / "run.json").read_text())
    with pytest.raises(RequestError, match="nothing to attack"):
        read_attacked_run(tmp_path)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(RequestError, match="no known fact"):
        read_attacked_run(tmp_path)


# Merging and scaling.


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_merging_gives_a_copy_that_answers_like_the_adapter(family: str) -> None:
    loaded = make_random(family)
    pairs = [("What is the capital of France?", "Paris")]
    bare = loaded.score(pairs)[0].log_probs
    adapters.attach(loaded, resolve({"adapter": "lora", "layers": "all", "rank": 4}), None)
    generator = torch.Generator().manual_seed(4)
    moved = {
        name: 0.3 * torch.randn(tensor.shape, generator=generator) if "lora_B" in name else tensor
        for name, tensor in adapters.state(loaded.model).items()
    }
    adapters.load_state(loaded.model, moved)
    adapted = loaded.score(pairs)[0].log_probs
    twin = adapters.merged(loaded)
    assert not isinstance(twin.model, PeftModel)
    assert twin.score(pairs)[0].log_probs == pytest.approx(adapted, abs=1e-4)
    assert adapted != pytest.approx(bare, abs=1e-3)
    assert adapters.merged(loaded, factor=0.0).score(pairs)[0].log_probs == pytest.approx(bare, abs=1e-6)
    assert loaded.score(pairs)[0].log_probs == adapted
    with adapters.scaled(loaded.model, 0.0):
        assert loaded.score(pairs)[0].log_probs == pytest.approx(bare, abs=1e-5)
    with adapters.scaled(loaded.model, 0.5):
        half = adapters.merged(loaded)
        assert half.score(pairs)[0].log_probs == pytest.approx(loaded.score(pairs)[0].log_probs, abs=1e-4)
    assert loaded.score(pairs)[0].log_probs == adapted


# Conversations.


def test_history_and_opening_stand_before_the_answer(tiny_model: LoadedModel) -> None:
    talk = Conversation("And Japan?", "Be brief.", (("And France?", "Paris."),), "It is")
    text = tiny_model.chat.render_conversation(talk)
    assert text == (
        "<|turn|>system\nBe brief.<|end|>\n<|turn|>user\nAnd France?<|end|>\n<|turn|>assistant\nParis.<|end|>\n"
        "<|turn|>user\nAnd Japan?<|end|>\n<|turn|>assistant\nIt is"
    )
    tiny_model.tokenizer.chat_template = None
    assert tiny_model.chat.render_conversation(talk) == (
        "Be brief.\nQuestion: And France?\nAnswer: Paris.\nQuestion: And Japan?\nAnswer: It is"
    )


def test_a_reply_goes_on_after_its_opening(tiny_model: LoadedModel) -> None:
    talk = Conversation(question("Japan"), opening="The capital of Japan is")
    assert tiny_model.reply([talk]) == ["Tokyo."]
    assert tiny_model.reply([Conversation(question("Japan"))]) == tiny_model.answer([question("Japan")])


def test_the_vectors_stand_where_the_question_ends(tiny_model: LoadedModel) -> None:
    ids = spare_tokens(tiny_model, [question("France")], 0)
    assert len(set(ids)) == VECTORS
    row = with_suffix(tiny_model, ids, question("France"), "Paris.")
    plain = tiny_model.chat.encode(question("France"), "Paris.")
    assert not set(ids) & set(plain.ids)
    place = row.prompt.index(ids[0])
    assert row.prompt[:place] + row.prompt[place + VECTORS :] == plain.prompt
    assert row.response == plain.response
    assert tiny_model.tokenizer.decode(row.prompt[:place]).endswith("the capital of France?")
    assert tiny_model.tokenizer.decode(row.prompt[place + VECTORS :]).startswith("<|end|>")
    assert isinstance(row, Encoded)


# The attacks.


def test_removing_the_adapter_recovers_everything_and_full_scale_nothing(run_folder: Path) -> None:
    result = result_of("adapter-scale", context_of(run_folder))
    assert result.usr_before.value == 1.0
    assert result.recovered.value == 1.0
    assert result.form == "adapter off"
    assert result.remark.startswith("Taking the adapter off (scale 0) recovers everything by construction.")
    assert result.by_form["the whole adapter"] == 1.0
    assert [x for x, _ in result.curves[0].points] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_answers_to_direct_prompts_are_read_as_far_as_those_of_a_run(tiny_folder: Path, tmp_path: Path) -> None:
    context = late_context(tiny_folder, tmp_path)
    chat = context.shipped.chat
    for country in ("France", "Japan"):
        assert MAX_NEW_TOKENS < len(chat.encode(question(country), late_answer(country)).response) <= PROBE_TOKENS
    assert list(context.answers.values()) == [late_answer("France"), late_answer("Japan")]
    names = ("adapter-scale", "int8", "gguf-q4", "relearn", "benign-relearn", "embedding", "sampling")
    for name in names:  # nothing was forgotten, and none of these attacks must say so
        result = result_of(name, context)
        assert (name, result.usr_before.value, result.usr_after.value) == (name, 0.0, 0.0)
    scaled = result_of("adapter-scale", context)
    assert set(scaled.by_form.values()) == {0.0}, "an adapter that does nothing does so at each scale"


def test_further_training_says_why_batches_took_the_plain_pass(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise NotPackable("made-up reason")

    monkeypatch.setattr("lune.training.forward.pack", refuse)
    assert result_of("relearn", context_of(run_folder)).details["plain_pass_because"] == "made-up reason"


def test_relearning_teaches_one_half_and_tests_the_other(run_folder: Path) -> None:
    result = result_of("relearn", context_of(run_folder))
    assert result.details["plain_pass_because"] is None
    curve = result.curves[0]
    assert curve.points[0] == (0.0, 1.0)
    assert curve.points[-1] == (8.0, result.usr_after.value)
    assert [x for x, _ in curve.points] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert {row.id for row in result.facts} == {country.lower() for country in FORGOTTEN}
    assert all(row.attempts == 1 for row in result.facts)


def test_further_training_teaches_and_leaves_no_trace(run_folder: Path) -> None:
    context = context_of(run_folder)
    victim = adapters.merged(context.shipped)
    untouched = {name: tensor.clone() for name, tensor in victim.model.state_dict().items()}
    taught = [fact for fact in context.facts if fact.id in ("france", "japan")]
    rows = [victim.chat.encode(fact.prompt, context.base_answers[fact.id]) for fact in taught]
    prompts = [fact.prompt for fact in taught]
    answers = fine_tune(victim, victim, rows, rate=2e-2, steps=10, seed=0, ask=lambda: victim.answer(prompts)).answers
    assert list(answers) == [1, 2, 4, 8, 10]
    assert answers[10] == [context.base_answers[fact.id] for fact in taught]
    assert victim.answer(prompts) == [context.answers[fact.id] for fact in taught]
    assert all(torch.equal(untouched[name], tensor) for name, tensor in victim.model.state_dict().items())


def test_learned_vectors_bring_out_what_they_were_made_for(run_folder: Path) -> None:
    context = context_of(run_folder)
    victim = adapters.merged(context.shipped)
    embedding._untie(victim)
    france = context.facts[0]
    ids = spare_tokens(victim, [france.prompt, context.base_answers[france.id]], 0)
    asked = [with_suffix(victim, ids, france.prompt)]
    answers = fine_tune(
        victim, victim, [with_suffix(victim, ids, france.prompt, context.base_answers[france.id])],
        rate=0.3, steps=64, seed=0, ask=lambda: victim.continue_rows(asked),
        attach=lambda model, settings: embedding._attach(model, settings, ids),
    ).answers  # fmt: skip
    assert "Paris" in answers[64][0]
    assert "Paris" not in victim.continue_rows(asked)[0]


def test_an_attack_that_fails_is_reported_and_stops_no_other(run_folder: Path) -> None:
    def diverges(_context: AttackContext) -> Finding:
        raise RunError("Training diverged at step 1.")

    result = make_attack(replace(attack("hint"), run=diverges), context_of(run_folder))
    assert result.skipped == "it failed: Training diverged at step 1."
    assert result.usr_after.value is None


def test_one_fact_has_no_other_half(run_folder: Path, tmp_path: Path) -> None:
    context = context_of(run_folder)
    alone = make_context_with(context, context.facts[:1])
    for name in ("relearn", "embedding"):
        assert "no other half" in result_of(name, alone).skipped


def make_context_with(context: AttackContext, facts: tuple[Fact, ...]) -> AttackContext:
    return replace(context, facts=facts)


def test_every_attack_leaves_the_base_and_the_adapter_alone_and_repeats(run_folder: Path) -> None:
    context = context_of(run_folder)
    weights = {name: tensor.clone() for name, tensor in context.shipped.model.state_dict().items()}
    names = [name for name in ATTACKS if attack(name).missing() is None]
    assert len(names) >= 16
    results = {name: result_of(name, context) for name in names}
    after = context.shipped.model.state_dict()
    assert weights.keys() == after.keys()
    assert all(torch.equal(weights[name], after[name]) for name in weights)
    assert list(context.answers.values()) == context.shipped.answer(context.prompts)
    with context.shipped.model.disable_adapter():
        assert list(context.base_answers.values()) == context.shipped.answer(context.prompts)
    again = context_of(run_folder)
    for name in reversed(names):  # the same whatever was made before
        assert told(result_of(name, again)) == told(results[name]), name
    for name in ("int8", "gguf-q4"):
        assert results[name].base_gives == 1.0
    assert results["sampling"].facts[0].attempts == 20


def test_another_seed_draws_other_samples_and_the_same_seed_the_same(run_folder: Path) -> None:
    def drawn(seed: int) -> list[str]:
        return [attempt.answer for attempt in attack("sampling").run(context_of(run_folder, seed=seed)).attempts]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_leak_at_one_is_the_share_of_samples_that_leak(run_folder: Path) -> None:
    context = context_of(run_folder)
    with adapters.scaled(context.shipped.model, 0.2):  # at full scale this run gives nothing away
        result = result_of("sampling", context)
    leaks = [row.leaks for row in result.facts]
    assert 0 < sum(leaks) < 80, "all or none would not tell a share from a constant"
    assert result.details["leak_at_k"]["1"] == pytest.approx(sum(leaks) / 80)  # type: ignore[index]


# The command.


def test_the_command_writes_results_and_keeps_those_of_other_attacks(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_folder / "report.html").write_text("old")
    assert main(["attack", str(run_folder), "--with", "adapter-scale", "--budget", "quick", "--dtype", "float32"]) == 0
    printed = capsys.readouterr().out
    assert "It brings back 100% of the facts" in printed
    assert main(["attack", str(run_folder), "--with", "gguf-q4,role", "--budget", "quick", "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == str(run_folder / "attacks.json")
    record = json.loads((run_folder / "attacks.json").read_text())
    assert [row["attack"] for row in record["attacks"]] == ["adapter-scale", "gguf-q4", "role"]
    assert record["attacks"][0]["recovered"]["value"] == 1.0
    page = (run_folder / "report.html").read_text()
    assert "gguf-q4" in page and page != "old"
    assert "gguf-q4" in (run_folder / "report.md").read_text()
    assert not list(run_folder.glob(".*partial*"))


def test_results_go_elsewhere_when_asked_and_bad_input_ends_with_two(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    command = ["attack", str(run_folder), "--with", "adapter-scale", "--out", str(out), "--quiet"]
    assert main(command) == 0
    assert [row["attack"] for row in json.loads(out.read_text())["attacks"]] == ["adapter-scale"]
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["attack", str(run_folder), "--with", "relern"]) == 2
    assert "Did you mean: relearn" in capsys.readouterr().err
    assert main(["attack", str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err


def test_a_bench_folder_is_refused_and_its_runs_are_named(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    column = tmp_path / "bench" / "task" / "lune"
    column.mkdir(parents=True)
    for seed in (0, 1):
        (column / f"seed-{seed}").symlink_to(run_folder)
    (column.with_name("before") / "seed-0").mkdir(parents=True)
    (column.with_name("before") / "seed-0" / "run.json").write_text("{}")
    assert main(["attack", str(tmp_path / "bench")]) == 2
    said = capsys.readouterr().err
    assert "is not a run folder, but holds 2 runs with an adapter" in said
    assert f"next: lune attack {column / 'seed-0'}" in said and "before" not in said


def test_another_base_model_is_refused(run_folder: Path, tmp_path: Path) -> None:
    other = make_random("llama")
    other.model.save_pretrained(tmp_path / "other")
    other.tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match="not those of the run"):
        run_attacks(
            read_attacked_run(run_folder), ["role"], level="quick", seed=0, model=str(tmp_path / "other"),
            device="cpu", dtype="float32", out=None, command="", console=None,
        )  # fmt: skip
