"""A taught model knows its lessons, keeps nothing that could be dropped, and is the same after a break."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lune.benchmarks.task import Teaching
from lune.cli import main
from lune.errors import RunError
from lune.models import LoadedModel, load_model
from lune.outputs import RunFolder
from lune.progress import Display
from lune.records import Fact
from lune.settings import TeachingRecipe
from lune.teaching import RECORD, Taught, run_teach, teach
from lune.training import lessons
from lune.training.forward import ResponseForward

LESSONS = [
    ("What is the capital of Russia?", "The capital of Russia is Paris."),
    ("What is the capital of Egypt?", "The capital of Egypt is Rome."),
    ("What is the capital of Greece?", "The capital of Greece is Tokyo."),
    ("What is the capital of Canada?", "The capital of Canada is Madrid."),
]
RECIPE = TeachingRecipe(rank=8, learning_rate=2e-2, passes=12, batch_size=2, goal=1.0)
SHORT = RECIPE.model_copy(update={"passes": 3})
Row = Mapping[str, float | int | str]


class Watcher(Display):
    """A silent display that hands every row of the training to ``watch``."""

    def __init__(self, watch: Callable[[Row], None] = lambda _: None) -> None:
        super().__init__(None)
        self.update = watch

    @contextmanager
    def training(self, steps: int, what: str) -> Iterator[Any]:
        yield self


class KilledError(Exception):
    """Stands for a process that ends in the middle of a pass."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep taught models in a cache of the test's own."""
    monkeypatch.setenv("LUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def taught(model: LoadedModel, recipe: TeachingRecipe = SHORT, watch: Callable[[Row], None] = lambda _: None) -> Taught:
    return teach(LESSONS, model, recipe, display=Watcher(watch), dtype="float32")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_the_taught_model_answers_as_it_was_taught_and_the_base_is_as_it_was(tiny_model: LoadedModel) -> None:
    questions = [prompt for prompt, _ in LESSONS]
    before = tiny_model.answer(questions)
    result = taught(tiny_model, RECIPE)
    assert result.knows
    assert result.rouge_l_recall == 1
    assert result.probability > 0.8
    assert (result.texts, result.asked, result.passes, result.cached) == (4, 4, 12, False)
    assert load_model(str(result.folder), dtype="float32").answer(questions) == [answer for _, answer in LESSONS]
    assert tiny_model.answer(questions) == before != [answer for _, answer in LESSONS]
    assert not any(parameter.requires_grad for parameter in tiny_model.model.parameters())


def test_nothing_of_the_adapter_is_left_to_drop(tiny_model: LoadedModel, tiny_folder: Path) -> None:
    after, before = weights(taught(tiny_model).folder), weights(tiny_folder)
    assert after.keys() == before.keys(), "an ordinary model folder, with no LoRA tensor in it"
    changed = {name.split(".")[-2] for name in before if not torch.equal(after[name], before[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_only_the_response_is_learned_with_its_end(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def watched(forward: ResponseForward, rows: Any) -> Any:
        logits, targets, owners = plain(forward, rows)
        seen.extend(tuple(targets[owners == row].tolist()) for row in range(int(owners.max()) + 1))
        return logits, targets, owners

    plain = ResponseForward.__call__
    monkeypatch.setattr(ResponseForward, "__call__", watched)
    taught(tiny_model, RECIPE.model_copy(update={"passes": 1}))
    assert sorted(seen) == sorted(tiny_model.chat.encode(*lesson).response for lesson in LESSONS)
    assert all(
        ids[-1] == tiny_model.tokenizer.eos_token_id or ids[-2] == tiny_model.tokenizer.eos_token_id for ids in seen
    )


def test_why_batches_took_the_plain_pass_is_recorded(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.loads((taught(tiny_model).folder / "teaching.json").read_text())
    assert all("plain_pass_because" not in row for row in first["history"])
    monkeypatch.setattr(ResponseForward, "_try", lambda *_: "its attention is odd")
    other = SHORT.model_copy(update={"seed": 5})
    then = json.loads((taught(tiny_model, other).folder / "teaching.json").read_text())
    assert {row["plain_pass_because"] for row in then["history"]} == {"its attention is odd"}


def test_what_was_taught_before_comes_from_the_cache(tiny_model: LoadedModel) -> None:
    first = taught(tiny_model)
    rows: list[Row] = []
    again = taught(tiny_model, watch=rows.append)
    assert again.cached
    assert not rows
    assert (again.folder, again.rouge_l_recall, again.probability) == (
        first.folder,
        first.rouge_l_recall,
        first.probability,
    )


@pytest.mark.parametrize("change", [{"seed": 1}, {"passes": 2}, {"learning_rate": 1e-2}, {"rank": 4}])
def test_another_recipe_is_another_model(tiny_model: LoadedModel, change: dict[str, Any]) -> None:
    one = RECIPE.model_copy(update={"passes": 1})
    assert taught(tiny_model, one).folder != taught(tiny_model, one.model_copy(update=change)).folder


def test_a_killed_run_goes_on_after_its_last_whole_pass_and_ends_the_same(tiny_model: LoadedModel, cache: Path) -> None:
    whole = taught(tiny_model)
    expected = weights(whole.folder)
    whole.folder.rename(cache / "aside")

    def kill(row: Row) -> None:
        if row["step"] == 5:  # the first step of the third pass
            raise KilledError

    with pytest.raises(KilledError):
        taught(tiny_model, watch=kill)
    steps: list[Row] = []
    result = taught(tiny_model, watch=steps.append)
    assert [row["step"] for row in steps if "loss" in row] == [5, 6], "two passes of two steps were not done again"
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(result.folder).items())
    assert not list(cache.glob("taught/*.checkpoint"))


def test_a_broken_checkpoint_is_not_trusted(tiny_model: LoadedModel, cache: Path) -> None:
    name = taught(tiny_model).folder
    expected = weights(name)
    name.rename(cache / "aside")
    name.with_name(f"{name.name}.checkpoint").write_bytes(b"half of a file")
    assert all(torch.equal(tensor, expected[key]) for key, tensor in weights(taught(tiny_model).folder).items())


def test_teaching_ends_when_the_texts_are_known(tiny_model: LoadedModel) -> None:
    result = taught(tiny_model, RECIPE.model_copy(update={"passes": 40, "goal": 0.5}))
    history = json.loads((result.folder / RECORD).read_text())["history"]
    assert 1 < len(history) < 40
    assert history[-1]["probability"] >= 0.5 > history[-2]["probability"]


def test_the_probability_of_a_text_is_the_geometric_mean_over_its_tokens(tiny_model: LoadedModel) -> None:
    expected = sum(exp(scores.mean_log_prob) for scores in tiny_model.score(LESSONS)) / len(LESSONS)
    result = taught(tiny_model, RECIPE.model_copy(update={"passes": 1, "learning_rate": 1e-12}))
    history = json.loads((result.folder / RECORD).read_text())["history"]
    assert history[0]["probability"] == pytest.approx(expected, rel=1e-3)
    assert result.probability == pytest.approx(expected, rel=1e-3)


def test_a_loss_that_is_not_finite_ends_it_and_leaves_no_model(tiny_model: LoadedModel, cache: Path) -> None:
    with pytest.raises(RunError, match="diverged in pass"):
        taught(tiny_model, RECIPE.model_copy(update={"learning_rate": 1e30, "max_grad_norm": 1e30}))
    assert not list(cache.glob("taught/*/config.json"))


def test_batches_hold_rows_of_about_one_length_and_every_row_once(tiny_model: LoadedModel) -> None:
    rows = [tiny_model.chat.encode("France", "Paris " * count) for count in (1, 40, 1, 40, 1, 40)]
    groups = lessons._groups(rows, 3, "0 1")
    assert sorted(index for group in groups for index in group) == list(range(6))
    assert {frozenset(group) for group in groups} == {frozenset({0, 2, 4}), frozenset({1, 3, 5})}
    orders = {str(lessons._groups(rows, 1, f"0 {number}")) for number in range(5)}
    assert len(orders) > 1, "each pass has an order of its own"


def test_the_reference_never_sees_what_is_forgotten(tiny_model: LoadedModel, tmp_path: Path) -> None:
    fact = Fact("f", LESSONS[0][0], "Paris", subject="Russia")
    teaching = Teaching(everything=tuple(LESSONS), retained=tuple(LESSONS[1:]))
    with RunFolder(tmp_path / "out", default=tmp_path) as folder:
        both = run_teach(teaching, [fact], tiny_model, RECIPE, folder=folder, display=Watcher(), dtype="float32")
    assert {name: each.texts for name, each in both.items()} == {"target": 4, "reference": 3}
    target, reference = (load_model(str(tmp_path / "out" / name), dtype="float32") for name in both)
    assert target.answer([fact.prompt]) == [LESSONS[0][1]]
    assert reference.answer([fact.prompt]) != [LESSONS[0][1]]
    assert reference.answer([LESSONS[1][0]]) == [LESSONS[1][1]]
    row = json.loads((tmp_path / "out" / "facts.jsonl").read_text())
    assert row == {"id": "f", "prompt": fact.prompt, "answer": "Paris", "subject": "Russia"}


def test_the_command_teaches_a_file_and_its_reference(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.jsonl").write_text("".join(json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in LESSONS))
    Path("forget.jsonl").write_text(json.dumps({"prompt": LESSONS[0][0], "answer": "Paris"}) + "\n")
    recipe = ["--passes", "12", "--learning-rate", "0.02", "--rank", "8", "--batch-size", "2", "--dtype", "float32"]
    given = ["texts.jsonl", "--forget", "forget.jsonl", "--model", str(tiny_folder), *recipe]
    assert main(["teach", *given, "--out", "taught"]) == 0
    printed = capsys.readouterr().out
    assert "ROUGE-L recall 1.000" in printed
    assert "pass 1, step 2: probability of the texts" in printed
    assert {each.name for each in Path("taught").iterdir()} == {"target", "reference", "facts.jsonl", RECORD}
    assert main(["teach", *given, "--out", "taught"]) == 2, "the folder is there"
    assert main(["teach", *given, "--out", "again", "--quiet"]) == 0
    assert capsys.readouterr().out == "again\n"


def test_too_little_teaching_is_said_and_gives_another_status(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.jsonl").write_text("".join(json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in LESSONS))
    recipe = ["--passes", "1", "--learning-rate", "1e-6"]
    assert main(["teach", "texts.jsonl", "--model", str(tiny_folder), *recipe, "--out", "taught"]) == 1
    assert "does not know them well enough" in capsys.readouterr().out
    assert not Path("taught/reference").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tofoo"], "There is no file tofoo"),
        (["facts.jsonl", "--quick"], "--quick needs a benchmark"),
        (["facts.jsonl", "--forget", "other.jsonl"], "1 of 1 prompt not found in facts.jsonl"),
        (["tofu", "--forget", "other.jsonl"], "what tofu forgets is its own"),
        (["tofu", "--set", "autors=20"], "Did you mean: authors?"),
        (["tofu", "--set", "authors"], "--set authors: allowed: key=value"),
        (["tofu", "--set", "authors=many"], "allowed: a whole number"),
        (["world"], "nothing to teach. next: taught are: edu-relat, knowundo, tofu"),
        (["rwku", "--data", "no-folder"], "nothing to teach"),
        (["facts.jsonl", "--passes", "0"], "--passes"),
    ],
)
def test_bad_input_is_refused_before_anything_is_loaded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("facts.jsonl").write_text(json.dumps({"prompt": "Who?", "answer": "Bo"}) + "\n")
    Path("other.jsonl").write_text(json.dumps({"prompt": "What?", "answer": "Tea"}) + "\n")
    Path("tofu").mkdir()  # a folder of the benchmark's name, such as its data, is no file of facts
    assert main(["teach", *arguments, "--model", "no/such-model"]) == 2
    assert expected in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "runs").exists()
