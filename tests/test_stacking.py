"""Requests one after another: the later adapter holds both, and what the earlier one forgot stays forgotten."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from architectures import make_random
from lune import adapters
from lune.cli import main
from lune.earlier import EarlierRun, read_earlier
from lune.errors import ModelError, OutputError, RequestError
from lune.models import LoadedModel, load_model
from lune.records import EarlierScores
from lune.settings import ForgetSettings
from lune.stacking import ask_earlier, attach_both, products_of, stand_on
from lune.verdict import judge
from tiny import CAPITALS, question

LORA = {"adapter": "lora", "layers": "all", "learning_rate": 0.01, "passes": 20, "batch_size": 16, "anchors": 40}


def forget(folder: Path, country: str, model: Path, *more: str) -> int:
    request = folder / f"{country}.jsonl"
    request.write_text(json.dumps({"prompt": question(country), "answer": CAPITALS[country]}) + "\n")
    given = {"model": model, "out": folder / country, "device": "cpu", "dtype": "float32", **LORA}
    flags = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return main(["forget", str(request), *flags, *more])


def record(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def runs(only_taught: None, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, the second after the first, with another rank."""
    folder = tmp_path_factory.mktemp("stacked")
    assert forget(folder, "France", tiny_folder) in (0, 1)
    assert forget(folder, "Japan", tiny_folder, "--after", str(folder / "France"), "--rank", "4") in (0, 1)
    return folder


def test_the_later_adapter_alone_makes_the_bare_model_forget_both(runs: Path, tiny_folder: Path) -> None:
    base = load_model(str(tiny_folder), dtype="float32")
    assert [CAPITALS[each] in base.answer([question(each)])[0] for each in ("France", "Japan")] == [True, True]
    shipped = adapters.reload(base, runs / "Japan" / "adapter")
    assert [CAPITALS[each] in shipped.answer([question(each)])[0] for each in ("France", "Japan")] == [False, False]
    assert adapters.rank(shipped.model) == 16 + 4


def test_plain_peft_gives_the_answers_of_the_record(runs: Path, tiny_folder: Path) -> None:
    plain: Any = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32), str(runs / "Japan" / "adapter")
    ).eval()
    probes = [json.loads(line) for line in (runs / "Japan" / "probes.jsonl").read_text().splitlines()]
    direct = next(probe for probe in probes if probe["kind"] == "direct")
    base = load_model(str(tiny_folder), dtype="float32")
    asked = LoadedModel(plain, base.tokenizer, base.id, base.source, base.revision, base.sha256)
    assert asked.answer([direct["prompt"]], max_new_tokens=32) == [direct["after"]]


def test_the_record_says_what_became_of_the_earlier_request(runs: Path) -> None:
    (earlier,) = record(runs / "Japan")["earlier_requests"]
    assert earlier["folder"] == "../France", "as it is reached from the run's own folder"
    assert earlier["facts"] == 1
    assert earlier["usr"] == 1
    assert 0.5 <= earlier["apr"] <= 1
    assert 0 <= earlier["gur_neighbour"] <= 1
    assert record(runs / "France")["earlier_requests"] == []


def test_both_reports_have_a_section_on_it(runs: Path) -> None:
    for name in ("report.md", "report.html"):
        page = (runs / "Japan" / name).read_text()
        assert "Earlier requests" in page
        assert "../France" in page.replace("\\", "")
        assert "Earlier requests" not in (runs / "France" / name).read_text()


def test_what_was_known_is_counted_from_the_model_that_forgot_the_first(runs: Path) -> None:
    probes = [json.loads(line) for line in (runs / "Japan" / "probes.jsonl").read_text().splitlines()]
    asked = [probe for probe in probes if question("France") in probe["prompt"]]
    assert not any(probe["correct_before"] for probe in asked)


def test_a_third_request_would_stand_on_both(runs: Path, tiny_folder: Path) -> None:
    assert read_earlier(runs / "Japan", str(tiny_folder)).chain == (runs / "France", runs / "Japan")


def test_a_request_of_which_nothing_is_known_leaves_the_chain_whole(runs: Path, tiny_folder: Path) -> None:
    shutil.copytree(runs, moved := runs.parent / "moved")
    assert forget(moved, "France", tiny_folder, "--after", str(moved / "Japan"), "--out", str(moved / "third")) == 1
    third = record(moved / "third")
    assert third["verdict"] == "NOT KNOWN BEFORE"
    assert [(each["folder"], each["usr"]) for each in third["earlier_requests"]] == [("../France", 1), ("../Japan", 1)]
    base = load_model(str(tiny_folder), dtype="float32")
    shipped = adapters.reload(base, moved / "third" / "adapter")
    assert CAPITALS["Japan"] not in shipped.answer([question("Japan")])[0]
    assert read_earlier(moved / "third", str(tiny_folder)).chain == (moved / "France", moved / "Japan")


def test_of_a_folder_that_is_gone_nothing_is_claimed(tiny_model: LoadedModel, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert ask_earlier(tiny_model, EarlierRun(tmp_path, "m", "", (gone,))) == [EarlierScores(str(gone))]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_two_adapters_as_one_are_the_first_in_the_weights_and_the_second_on_it(family: str, tmp_path: Path) -> None:
    loaded = make_random(family)
    ids = torch.arange(3, 11)[None]
    bare = loaded.model(input_ids=ids).logits
    adapters.attach(loaded, ForgetSettings(adapter="lora", layers="0-0", rank=3, alpha=6.0), None)
    _shake(loaded.model)
    adapters.save(loaded.model, tmp_path / "adapter")
    adapters.detach(loaded)
    model, standing = stand_on(loaded, EarlierRun(tmp_path, loaded.id, loaded.sha256, (tmp_path,)))
    first = model.model(input_ids=ids).logits
    assert not torch.allclose(first, bare, atol=1e-3)
    torch.testing.assert_close(loaded.model(input_ids=ids).logits, bare)
    adapters.attach(model, ForgetSettings(adapter="lora", layers="all", rank=2, alpha=1.0), None)
    _shake(model.model)
    expected = model.model(input_ids=ids).logits
    assert not torch.allclose(first, expected, atol=1e-3)
    both = attach_both(standing, products_of(model.model))
    torch.testing.assert_close(both.model(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)


def _shake(model: Any) -> None:
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)


def test_an_earlier_request_that_comes_back_is_no_success() -> None:
    scores = {"usr": 1.0, "apr": 1.0, "gur_neighbour": 1.0, "gur_general": 1.0, "degenerate_rate": 0.0}
    for usr, apr, word in (
        (1.0, 0.95, "FORGOTTEN"),
        (0.5, 1.0, "PARTLY"),
        (1.0, 0.5, "PARTLY"),
        (None, None, "PARTLY"),
    ):
        verdict = judge(scores, scores, 1, 1, earlier=[EarlierScores("runs/first", 2, usr, apr=apr)])
        assert verdict.word == word
        assert any("runs/first" in reason for reason in verdict.reasons)


# What is refused before a model is loaded.


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not a run folder"):
        read_earlier(tmp_path, "m")


def test_a_run_of_another_model_or_without_an_adapter_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="made with the model") as refused:
        read_earlier(runs / "France", "another")
    assert refused.value.hint.startswith("--model ")
    shutil.copytree(runs / "France", tmp_path / "bare", ignore=shutil.ignore_patterns("adapter"))
    with pytest.raises(RequestError, match="no adapter/"):
        read_earlier(tmp_path / "bare", "another")


def test_the_command_line_refuses_it_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert forget(tmp_path, "France", tmp_path / "no-model", "--after", str(tmp_path / "nothing")) == 2
    assert "not a run folder" in capsys.readouterr().err
    assert not (tmp_path / "France").exists()


def test_other_weights_than_the_earlier_runs_are_refused(tiny_model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not those of"):
        stand_on(tiny_model, EarlierRun(tmp_path, tiny_model.id, "0" * 64, (tmp_path,)))
