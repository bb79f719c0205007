"""Whole runs on the tiny model: the run folder, the verdict and exit status, and the other commands on what it left."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

import lune
from lune import adapters, pipeline
from lune.cli import main
from lune.errors import OutputError, RunError
from lune.language_model import MAX_NEW_TOKENS
from lune.models import LoadedModel, load_model
from lune.records import Fact
from lune.training import loop
from lune.training.step import StepResult
from tiny import CAPITALS, fact, question

FILES = {
    "run.json", "adapter", "negatives.jsonl", "rejected.jsonl", "probes.jsonl", "history.jsonl", "report.html",
    "report.md",
}  # fmt: skip
RECORD = {
    "schema_version", "model", "method", "recipe", "settings", "versions", "hardware", "seeds", "facts", "metrics",
    "verdict", "timings_s", "peak_memory_mb",
}  # fmt: skip
SCORES = {"usr", "apr", "gur", "gur_neighbour", "gur_general", "mia", "refusal_rate"}
# Plain LoRA with large steps: forgets the tiny model's facts for certain, within three passes.
FORGETS = {"anchors": 40, "adapter": "lora", "layers": "all", "learning_rate": 0.01, "passes": 20, "batch_size": 16}

pytestmark = pytest.mark.usefixtures("only_taught")


@pytest.fixture(scope="module")
def finished(only_taught: None, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one whole run through the command line, which must end with FORGOTTEN and exit status 0 or not."""
    folder = tmp_path_factory.mktemp("runs")
    request = folder / "request.jsonl"
    rows = [{"prompt": question(country), "answer": CAPITALS[country]} for country in ("France", "Japan")]
    request.write_text("".join(json.dumps(row) + "\n" for row in rows))
    status = main(["forget", str(request), *flags(tiny_folder, folder / "run")])
    assert status == (0 if record(folder / "run")["verdict"] == "FORGOTTEN" else 1)
    return folder / "run"


def flags(model: Path, out: Path, **more: object) -> list[str]:
    given = {"model": model, "out": out, "device": "cpu", "dtype": "float32", **FORGETS, **more}
    return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def record(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return loaded


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# The run folder.


def test_a_run_leaves_the_files_of_the_contract_and_nothing_else(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == FILES
    assert {path.name for path in (finished / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "README.md",
    }  # fmt: skip
    assert {path.name for path in finished.parent.iterdir()} == {"run", "request.jsonl"}


def test_the_record_has_the_keys_of_the_contract(finished: Path, tiny_folder: Path, tiny_model: LoadedModel) -> None:
    run = record(finished)
    assert run.keys() >= RECORD
    assert run["schema_version"] == 1
    assert run["model"] == {"id": str(tiny_folder), "revision": None, "sha256": tiny_model.sha256}
    assert (run["method"], run["recipe"]) == ("lune", "lune")
    assert run["facts"]["total"] == 2
    assert run["facts"]["known"] == 2
    assert run["seeds"] == {"seed": 0}
    assert run["metrics"].keys() >= {"before", "after"}
    for moment in ("before", "after"):
        assert run["metrics"][moment].keys() >= SCORES
    assert run["timings_s"].keys() == {"load", "negatives", "train", "evaluate", "total"}
    assert run["peak_memory_mb"] > 0
    for name, value in FORGETS.items():
        assert run["settings"][name] == value
    assert run["settings"].keys() == lune.settings.ForgetSettings.model_fields.keys()
    assert run["command"].startswith("lune forget ")


def test_the_scores_are_those_of_the_answers(finished: Path) -> None:
    probes, metrics = rows_of(finished / "probes.jsonl"), record(finished)["metrics"]
    assert {probe["split"] for probe in probes} == {"test"}
    for moment in ("before", "after"):
        direct = [not probe[f"correct_{moment}"] for probe in probes if probe["kind"] == "direct"]
        assert metrics[moment]["usr"] == sum(direct) / len(direct)
        adversarial = [not probe[f"correct_{moment}"] for probe in probes if probe["kind"] == "adversarial"]
        assert metrics[moment]["apr"] == pytest.approx(sum(adversarial) / len(adversarial))
    kept = [probe["correct_after"] for probe in probes if probe["kind"] == "general" and probe["correct_before"]]
    assert metrics["after"]["gur_general"] == pytest.approx(sum(kept) / len(kept))
    assert metrics["before"]["usr"] == 0, "the tiny model knew both facts"
    assert metrics["after"]["usr"] == 1


def test_probes_answers_are_those_of_plain_peft(finished: Path, tiny_folder: Path) -> None:
    base = load_model(str(tiny_folder), dtype="float32")
    plain: Any = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32), str(finished / "adapter")
    ).eval()
    probes = rows_of(finished / "probes.jsonl")
    for probe in [*probes[:6], *probes[-20:]]:
        text = str(base.tokenizer.apply_chat_template(
            [{"role": "user", "content": probe["prompt"]}], add_generation_prompt=True, tokenize=False
        ))  # fmt: skip
        ids = torch.tensor([base.tokenizer(text, add_special_tokens=False)["input_ids"]])
        whole = plain.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=MAX_NEW_TOKENS
        )
        answer = str(base.tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)).strip()
        assert (answer.splitlines() or [""])[0].strip() == probe["after"], probe["prompt"]


def test_negatives_never_teach_the_answer_and_no_test_probe(finished: Path) -> None:
    negatives = rows_of(finished / "negatives.jsonl")
    probed = {probe["prompt"] for probe in rows_of(finished / "probes.jsonl") if probe["kind"] != "direct"}
    assert {negative["fact_id"] for negative in negatives} == {fact["id"] for fact in record(finished)["facts"]["list"]}
    for negative in negatives:
        assert negative["origin"]
        assert negative["checks"]
        assert negative["prompt"] not in probed
        assert "Paris" not in negative["response"] or "France" not in negative["prompt"]
    assert all(row["reason"] for row in rows_of(finished / "rejected.jsonl"))


def test_the_report_stands_alone(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert record(finished)["verdict"] in page
    assert "<script src=" not in page
    assert "What is the capital of France?" in page
    assert record(finished)["verdict"] in (finished / "report.md").read_text()


def test_the_adapter_passed_its_checks(finished: Path) -> None:
    checks = record(finished)["checks"]
    assert checks["adapter_matrices_moved"] == "14 of 14"
    asked, total = checks["reloaded_same_answers"].split(" of ")
    assert asked == total


# The other commands on what a run left.


def test_evaluate_gives_the_answers_of_the_run(finished: Path, tiny_folder: Path, tmp_path: Path) -> None:
    probes, out = finished / "probes.jsonl", tmp_path / "scores.json"
    arguments = ["evaluate", str(tiny_folder), "--probes", str(probes), "--dtype", "float32", "--quiet"]
    assert main([*arguments, "--adapter", str(finished / "adapter"), "--out", str(out)]) == 0
    after = json.loads(out.read_text())
    assert after["adapter"] == str(finished / "adapter")
    assert [row["answer"] for row in after["probes"]] == [probe["after"] for probe in rows_of(probes)]
    assert [row["correct"] for row in after["probes"]] == [probe["correct_after"] for probe in rows_of(probes)]
    run = record(finished)["metrics"]["after"]
    assert after["scores"].keys() >= {"usr", "apr", "gur_neighbour", "gur_general", "gur"}
    for name, value in after["scores"].items():
        assert value == pytest.approx(run[name]), name
    rows = lune.evaluate(str(tiny_folder), probes)
    assert [row["answer"] for row in rows] == [probe["before"] for probe in rows_of(probes)]


def test_evaluate_prints_a_line_a_kind(finished: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tiny_folder), "--probes", str(finished / "probes.jsonl")]) == 0
    printed = capsys.readouterr().out
    for kind in ("direct", "paraphrase", "adversarial", "neighbour", "general"):
        assert kind in printed
    assert "usr 0.000" in printed
    assert "gur_neighbour 1.000  gur_general 1.000  gur 1.000" in printed


def test_evaluate_of_probes_without_answers_before_gives_shares_by_kind(tiny_folder: Path, tmp_path: Path) -> None:
    probes, out = tmp_path / "probes.jsonl", tmp_path / "scores.json"
    rows: list[dict[str, object]] = [
        {"prompt": question("France"), "answer": "Paris"},
        {"prompt": question("Japan"), "answer": "Lyon"},
        {"prompt": question("Spain"), "answer": "Madrid", "kind": "neighbour"},
    ]
    probes.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["evaluate", str(tiny_folder), "--probes", str(probes), "--out", str(out), "--quiet"]) == 0
    assert json.loads(out.read_text())["scores"] == {"contains_expected.direct": 0.5, "contains_expected.neighbour": 1}


def test_negatives_are_shown_and_written(
    tiny_folder: Path, request_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "negatives.jsonl"
    assert main(["negatives", str(request_file), "--model", str(tiny_folder), "--out", str(out)]) == 0
    written = rows_of(out)
    assert len({row["alternate"] for row in written}) >= 4
    assert len({row["form"] for row in written}) >= 6
    assert written[0]["alternate"] in capsys.readouterr().out


# Verdicts and failures.


def test_a_fact_the_model_does_not_know_is_reported_and_nothing_is_trained(tiny_folder: Path, tmp_path: Path) -> None:
    unknown = Fact("x", question("Spain"), "Lyon", subject="Spain")
    run = lune.forget([unknown], out=tmp_path / "run", model=str(tiny_folder), dtype="float32", **FORGETS)
    assert run.verdict == "NOT KNOWN BEFORE"
    assert run.folder == tmp_path / "run"
    assert {path.name for path in run.folder.iterdir()} == FILES - {"adapter"}
    written = record(run.folder)
    assert written["verdict"] == "NOT KNOWN BEFORE"
    assert written["facts"]["known"] == 0
    assert "NOT KNOWN BEFORE" in (run.folder / "report.html").read_text()
    assert (run.folder / "history.jsonl").read_text() == ""


def test_an_unknown_fact_ends_with_status_1(tiny_folder: Path, tmp_path: Path) -> None:
    request = tmp_path / "unknown.jsonl"
    request.write_text(json.dumps({"prompt": question("Spain"), "answer": "Lyon"}) + "\n")
    assert main(["forget", str(request), *flags(tiny_folder, tmp_path / "run")]) == 1


def test_unknown_facts_are_left_out_of_the_scores(tiny_folder: Path, tmp_path: Path) -> None:
    facts = [fact("France"), Fact("x", question("Spain"), "Lyon", subject="Spain")]
    run = lune.forget(facts, out=tmp_path / "run", model=str(tiny_folder), dtype="float32", **FORGETS)
    written = record(run.folder)
    assert (written["facts"]["total"], written["facts"]["known"], written["facts"]["unknown"]) == (2, 1, ["x"])
    assert written["metrics"]["before"]["usr"] == 0


def test_no_such_model_ends_with_status_2_and_leaves_nothing(
    request_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["forget", str(request_file), *flags(tmp_path / "no-model", tmp_path / "runs" / "run")]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed[0].startswith("error[bad-model]: There is no model folder")
    assert printed[-1].startswith("next: ")
    assert list(tmp_path.iterdir()) == [request_file]


def test_a_run_that_diverges_ends_with_status_3_and_leaves_nothing(
    tiny_folder: Path, request_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs" / "run"
    assert main(["forget", str(request_file), *flags(tiny_folder, out, learning_rate=1e36)]) == 3
    assert "error[run-failed]: Training diverged" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [request_file]


def test_a_reload_that_answers_otherwise_fails_the_run(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_something_else(model: PeftModel, folder: Path) -> None:
        adapters.load_state(model, {name: -20 * tensor for name, tensor in adapters.state(model).items()})
        plain_save(model, folder)

    plain_save = adapters.save
    monkeypatch.setattr(adapters, "save", save_something_else)
    with pytest.raises(RunError, match=r"answers \d+ of \d+ prompts differently"):
        lune.forget([fact("France")], out=tmp_path / "run", model=str(tiny_folder), dtype="float32", **FORGETS)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_training_still_gives_a_scored_run(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_step, steps = loop.forward_backward, []

    def interrupted(*arguments: Any, **named: Any) -> StepResult:
        steps.append(1)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return plain_step(*arguments, **named)

    monkeypatch.setattr(loop, "forward_backward", interrupted)
    settings = {**FORGETS, "learning_rate": 1e-3, "early_stop": False}
    run = lune.forget([fact("France")], out=tmp_path / "run", model=str(tiny_folder), dtype="float32", **settings)
    assert record(run.folder)["training"]["stopped"] == "interrupted by the user"
    assert {path.name for path in run.folder.iterdir()} == FILES


def test_an_interrupt_before_the_first_step_ends_with_status_130_and_leaves_nothing(
    tiny_folder: Path, request_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "forward_backward", interrupted)
    assert main(["forget", str(request_file), *flags(tiny_folder, tmp_path / "runs" / "run")]) == 130
    assert list(tmp_path.iterdir()) == [request_file]


def test_a_disk_without_room_for_the_records_is_noticed_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, 10**7))
    with pytest.raises(OutputError, match="has 10 MB free, and about 30 MB are needed"):
        lune.forget([fact("France")], out=tmp_path / "run", model=str(tmp_path / "no-model"))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_for_the_adapter_is_noticed_before_training(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, 31_000_000))
    monkeypatch.setattr(loop, "forward_backward", lambda *_, **__: pytest.fail("training began"))
    settings = {**FORGETS, "rank": 512}
    with pytest.raises(OutputError, match=r"has 31 MB free, and about \d+ MB are needed"):
        lune.forget([fact("France")], out=tmp_path / "run", model=str(tiny_folder), dtype="float32", **settings)
    assert list(tmp_path.iterdir()) == []


def test_each_process_loads_the_model_onto_the_card_that_accelerate_gives_it(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loaded(Exception):
        pass

    def placed(_: object, device: torch.device) -> None:
        raise Loaded(str(device))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    third = SimpleNamespace(device=torch.device("cuda", 3), is_main_process=False)
    monkeypatch.setattr(pipeline, "Accelerator", lambda cpu: third)
    monkeypatch.setattr(PreTrainedModel, "to", placed)
    with pytest.raises(Loaded, match=r"^cuda:3$"):
        lune.forget([fact("France")], out=tmp_path / "run", model=str(tiny_folder), dtype="float32")


def test_the_keyed_recipe_runs_whole_and_keeps_the_neighbours(tiny_folder: Path, tmp_path: Path) -> None:
    settings = {"anchors": 40, "learning_rate": 0.05, "passes": 10, "batch_size": 16, "dtype": "float32"}
    run = lune.forget([fact("France"), fact("Japan")], out=tmp_path / "run", model=str(tiny_folder), **settings)
    written = record(run.folder)
    assert written["settings"]["adapter"] == "keyed"
    assert written["training"]["adapter_rank"] == 4  # a key for each subject and each answer
    assert written["metrics"]["before"]["usr"] == 0.0
    assert written["metrics"]["after"]["usr"] == 1.0
    assert written["metrics"]["after"]["apr"] > written["metrics"]["before"]["apr"]
    assert written["metrics"]["after"]["gur_neighbour"] >= 0.8


def test_two_runs_of_one_seed_leave_the_same_adapter(tiny_folder: Path, finished: Path, tmp_path: Path) -> None:
    request = finished.parent / "request.jsonl"
    lune.forget(request, out=tmp_path / "run", model=str(tiny_folder), device="cpu", dtype="float32", **FORGETS)
    for name in ("adapter/adapter_model.safetensors", "negatives.jsonl", "probes.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes(), name


def test_the_plain_peft_example_finds_the_reports_answers(
    finished: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = Path(__file__).parents[1] / "examples" / "plain_peft.py"
    monkeypatch.setattr(sys, "argv", [str(example), str(finished), str(tiny_folder)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(example), run_name="__main__")
    asked = sum(row["kind"] in ("direct", "paraphrase") for row in rows_of(finished / "probes.jsonl"))
    assert capsys.readouterr().out.strip().splitlines()[-1] == f"{asked} of {asked} answers are those of the report"
    assert end.value.code == 0
