"""A whole bench on the tiny model: its cells, what resumes and what is refused, the table made from the folders."""

from __future__ import annotations

import csv
import io
import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from capitals_benchmark import CAPITALS_BENCHMARK, FORGOTTEN, NEIGHBOURS, load, measure
from lune import teaching
from lune.bench.plan import Plan, column_setting, read_options
from lune.bench.runner import run_bench
from lune.bench.table import FILES, write_table
from lune.benchmarks import BENCHMARKS, benchmark
from lune.benchmarks.task import Task
from lune.cli import main
from lune.errors import ConfigError, RunError
from lune.models import LoadedModel, load_model
from lune.outputs import RunFolder
from lune.pipeline import run_forget
from lune.progress import Display
from lune.settings import resolve
from tiny import CAPITALS, make_model, question

FORGETS = {
    "anchors": 12, "adapter": "lora", "layers": "all", "learning_rate": 0.01, "passes": 1, "batch_size": 16,
    "dtype": "float32", "device": "cpu", "early_stop": False,
}  # fmt: skip
CELLS = [
    f"capitals-2/{column}/seed-{seed}" for column in ("before", "lune", "lune-paper", "reference") for seed in (0, 1)
]

pytestmark = pytest.mark.usefixtures("only_taught")


@dataclass(frozen=True)
class Taught:
    folder: Path
    texts: int


class Teacher:
    """Stands for teaching: the model of everything and the one never taught the forgotten are there already."""

    def __init__(self, knowing: Path, ignorant: Path) -> None:
        self.folders = {len(CAPITALS): knowing, len(CAPITALS) - 2: ignorant}

    def __call__(self, texts: Sequence[tuple[str, str]], model: LoadedModel, display: Display, dtype: str) -> Taught:
        return Taught(self.folders[len(texts)], len(texts))


@pytest.fixture(scope="module")
def teacher(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return Teacher(tiny_folder, make_model(tmp_path_factory.mktemp("tiny") / "ignorant", without=FORGOTTEN))


def plan(model: Path, out: Path, *, columns: Sequence[str] = ("before", "lune-paper", "lune", "reference"),
         seeds: Sequence[int] = (0, 1), **changed: Any) -> Plan:  # fmt: skip
    settings = {
        column: resolve({"model": str(model), **FORGETS, **column_setting(column), **changed}) for column in columns
    }
    return Plan(CAPITALS_BENCHMARK, CAPITALS_BENCHMARK.settings, None, settings, tuple(seeds), None, out)


def stamps(out: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in out.rglob("*") if path.is_file()]
    return {str(path.relative_to(out)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def cells(out: Path) -> list[str]:
    return sorted(str(path.parent.relative_to(out)) for path in out.glob("*/*/*/run.json"))


def record(cell: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((cell / "run.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def done(
    only_taught: None, tiny_folder: Path, teacher: Teacher, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, tuple[int, bytes]]]:
    """A bench that was interrupted in its sixth cell and then finished, and the files that the first part left."""
    out = tmp_path_factory.mktemp("bench") / "out"
    measured: list[Task] = []

    def interrupted(model: LoadedModel, task: Task) -> dict[str, Any]:
        measured.append(task)
        if len(measured) == 4:  # before, reference, the paper's recipe with the first seed, then with the second
            raise KeyboardInterrupt
        return measure(model, task)

    whole = plan(tiny_folder, out)
    stopped = replace(whole, benchmark=replace(CAPITALS_BENCHMARK, measure=interrupted))
    log = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        run_bench(stopped, console=Console(file=log, width=200), command="lune bench capitals", teacher=teacher)
    assert f"Interrupted: 5 of 8 cells are finished and stay in {out}." in log.getvalue()
    first = stamps(out)
    run_bench(whole, console=None, command="lune bench capitals", teacher=teacher)
    return out, first


@pytest.fixture
def out(done: tuple[Path, dict[str, tuple[int, bytes]]]) -> Path:
    return done[0]


# Cells.


def test_an_interrupted_bench_leaves_whole_cells_and_goes_on_with_the_others(
    done: tuple[Path, dict[str, tuple[int, bytes]]],
) -> None:
    out, first = done
    there = sorted({name.rpartition("/run.json")[0] for name in first if name.endswith("/run.json")})
    assert there == [
        "capitals-2/before/seed-0", "capitals-2/before/seed-1", "capitals-2/lune-paper/seed-0",
        "capitals-2/reference/seed-0", "capitals-2/reference/seed-1",
    ]  # fmt: skip
    assert {name.replace("run.json", "scores.json") for name in first if name.endswith("/run.json")} <= set(first)
    assert not any(part.startswith(".") for name in first for part in name.split("/")), "something half-written"
    assert cells(out) == sorted(CELLS)
    now = stamps(out)
    assert all(now[name] == stamp for name, stamp in first.items()), "a finished cell was touched"


def test_a_finished_bench_trains_nothing_again(out: Path, tiny_folder: Path, teacher: Teacher) -> None:
    before = stamps(out)
    run_bench(plan(tiny_folder, out), console=None, command="again", teacher=teacher)
    assert stamps(out) == before


@pytest.mark.parametrize("own", [False, True])
def test_answers_to_a_users_own_facts_are_not_kept_in_the_cache(
    own: bool, tiny_folder: Path, teacher: Teacher, tmp_path: Path
) -> None:
    wanted = plan(tiny_folder, tmp_path / "out", columns=("before",), seeds=(0,))
    taking = replace(wanted.benchmark, takes_own_facts=own, load=lambda _, *rest: load(None, *rest))
    run_bench(replace(wanted, benchmark=taking, source=tmp_path), console=None, command="lune bench", teacher=teacher)
    assert (tmp_path / "lune-cache" / "answers").exists() is not own
    assert [each for each in BENCHMARKS if benchmark(each).takes_own_facts] == ["world"]


def test_a_cell_is_a_run_folder_with_what_the_protocol_measured(out: Path) -> None:
    cell = out / "capitals-2" / "lune" / "seed-1"
    run = record(cell)
    assert {"adapter", "run.json", "probes.jsonl", "report.html", "protocol.json", "scores.json"} <= {
        path.name for path in cell.iterdir()
    }
    assert (run["bench"]["benchmark"], run["bench"]["task"], run["bench"]["column"]) == (
        "capitals",
        "capitals-2",
        "lune",
    )
    assert run["bench"]["options"] == {"facts": 2, "form": "plain"}
    assert run["bench"]["teaching"] == {"target": {"texts": len(CAPITALS)}, "reference": None}
    assert run["seeds"] == {"seed": 1}
    assert len(json.loads((cell / "protocol.json").read_text())["answers"]) == 2
    assert not (out / "capitals-2" / "before" / "seed-0" / "adapter").exists()


def test_only_cells_in_which_something_was_to_be_forgotten_are_judged(out: Path) -> None:
    verdicts = {name: record(out / "capitals-2" / name / "seed-0")["verdict"] for name in ("before", "reference")}
    assert verdicts == {"before": None, "reference": None}
    assert record(out / "capitals-2" / "lune" / "seed-0")["verdict"]


def test_before_is_the_target_and_the_reference_never_knew(out: Path) -> None:
    before, reference = (record(out / "capitals-2" / name / "seed-0")["metrics"] for name in ("before", "reference"))
    assert before["after"] == before["before"]
    assert before["after"]["usr"] == 0
    assert reference["before"] == before["before"], "both are compared with the same target"
    assert reference["after"]["usr"] == 1, "it was never taught the forgotten"
    assert reference["after"]["gur_neighbour"] > 0.5
    assert before["after"]["mia"]["loss"]["auc"] == 1, "taught sentences against nonsense"
    scores = json.loads((out / "capitals-2" / "before" / "seed-0" / "scores.json").read_text())
    assert scores == {"recall": 1.0, "same_as_reference": 0.0}


def test_the_benchmarks_probes_are_asked_and_what_it_tests_stays_out_of_training(out: Path) -> None:
    cell = out / "capitals-2" / "lune" / "seed-0"
    probes = [json.loads(line) for line in (cell / "probes.jsonl").read_text().splitlines()]
    assert {p["id"] for p in probes if p["kind"] == "neighbour"} == {f"kept/{name}" for name in NEIGHBOURS}
    assert {"again/France", "again/Japan"} <= {p["id"] for p in probes if p["kind"] == "paraphrase"}
    assert sum(p["prompt"] == f"Tell me: {question('France')}" for p in probes) == 1
    assert {p["kind"] for p in probes} == {"direct", "paraphrase", "adversarial", "neighbour", "general"}
    negatives = [json.loads(line) for line in (cell / "negatives.jsonl").read_text().splitlines()]
    assert not {n["prompt"] for n in negatives} & {f"Tell me: {question(name)}" for name in FORGOTTEN}
    assert "never taught" in record(cell)["limits"][-1]


def test_a_cell_that_shares_its_model_is_the_same_as_a_run_alone(out: Path, tiny_folder: Path, tmp_path: Path) -> None:
    from lune.benchmarks.cell import Cell
    from lune.evaluation import RememberedAnswers

    model = load_model(str(tiny_folder), dtype="float32", device="cpu")
    task = load(None, CAPITALS_BENCHMARK.settings, model)[0]
    settings = plan(tiny_folder, out).settings["lune"]
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    with RunFolder(tmp_path / "run", default=tmp_path) as folder:
        cell = Cell(task, model, RememberedAnswers(model), None, lambda model, folder: {}, Display(None))
        run_forget(task.facts, settings, folder=folder, console=None, command="", cell=cell)
    shared = out / "capitals-2" / "lune" / "seed-0"
    for name in ("adapter/adapter_model.safetensors", "probes.jsonl", "negatives.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (shared / name).read_bytes(), name
    after = model.model.state_dict()
    assert after.keys() == before.keys(), "the adapter is off again"
    assert all(bool((after[name] == tensor).all()) for name, tensor in before.items())


# What is refused, and what fails.


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"learning_rate": 0.02}, "--learning-rate: 0.01 there, 0.02 now"),
        ({"anchors": 8}, "--anchors: 12 there, 8 now"),
    ],
)
def test_cells_of_other_settings_are_not_taken_for_these(
    out: Path, tiny_folder: Path, teacher: Teacher, changed: dict[str, Any], said: str
) -> None:
    before = stamps(out)
    with pytest.raises(ConfigError, match="made from something else") as error:
        run_bench(plan(tiny_folder, out, **changed), console=None, command="", teacher=teacher)
    assert len(error.value.problems) == len(CELLS)
    assert said in error.value.problems[0]
    assert stamps(out) == before


def test_seeds_of_one_column_have_one_setting(out: Path, tiny_folder: Path, teacher: Teacher) -> None:
    later = plan(tiny_folder, out, columns=("lune",), seeds=(7,), learning_rate=0.02)
    with pytest.raises(ConfigError) as error:
        run_bench(later, console=None, command="", teacher=teacher)
    assert len(error.value.problems) == len([cell for cell in CELLS if "/lune/" in cell])
    assert all("learning-rate" in problem for problem in error.value.problems), "the table would take their mean"


def test_without_any_model_to_show_nothing_is_run(tiny_folder: Path, teacher: Teacher, tmp_path: Path) -> None:
    untaught = replace(CAPITALS_BENCHMARK, load=lambda *args: [replace(task, teaching=None) for task in load(*args)])
    alone = replace(plan(tiny_folder, tmp_path / "out", columns=("reference",), seeds=(0,)), benchmark=untaught)
    with pytest.raises(ConfigError, match="teaches nothing"):
        run_bench(alone, console=None, command="", teacher=teacher)


def test_cells_of_another_model_or_other_data_are_refused(out: Path, tiny_folder: Path, teacher: Teacher) -> None:
    ignorant = teacher.folders[len(CAPITALS) - 2]
    with pytest.raises(ConfigError) as error:
        run_bench(plan(ignorant, out), console=None, command="", teacher=teacher)
    assert all("base_sha256" in problem for problem in error.value.problems)

    def other(source: Path | None, options: Mapping[str, str | int], base: LoadedModel) -> list[Task]:
        return [replace(task, details={**task.details, "more": 1}) for task in load(source, options, base)]

    changed = replace(plan(tiny_folder, out), benchmark=replace(CAPITALS_BENCHMARK, load=other))
    with pytest.raises(ConfigError) as error:
        run_bench(changed, console=None, command="", teacher=teacher)
    assert all("task_sha256" in problem and "base_sha256" not in problem for problem in error.value.problems)


def test_cells_of_a_model_that_was_taught_otherwise_are_refused(
    out: Path, tiny_folder: Path, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "FORMAT", 99)
    with pytest.raises(ConfigError) as error:
        run_bench(plan(tiny_folder, out), console=None, command="", teacher=teacher)
    assert all("taught_format: 2 there, 99 now" in problem for problem in error.value.problems)


def test_a_cell_that_fails_stops_no_other_and_a_log_is_told_each_stage(
    tiny_folder: Path, teacher: Teacher, tmp_path: Path
) -> None:
    whole = plan(tiny_folder, tmp_path / "out", columns=("lune", "before"), seeds=(0,))
    broken = resolve({**whole.settings["lune"].model_dump(), "learning_rate": 1e36})
    wrong = replace(whole, settings={**whole.settings, "lune": broken})
    log = io.StringIO()
    with pytest.raises(RunError, match="1 of 2 cells failed") as error:
        run_bench(wrong, console=Console(file=log, width=200), command="", teacher=teacher)
    assert error.value.exit_status == 3
    assert error.value.problems[0].startswith("capitals-2 · lune · seed 0: Training diverged")
    assert cells(wrong.out) == ["capitals-2/before/seed-0"]
    scores = json.loads((wrong.out / "capitals-2" / "before" / "seed-0" / "scores.json").read_text())
    assert scores.keys() == {"recall"}, "a score relative to the reference only where it was measured"
    lines = log.getvalue().splitlines()
    first = lines.index("[1 of 2] capitals-2 · before · seed 0 ...")
    assert lines[first + 1] == "  making negatives and probes, asking the base model ..."
    assert "  asking what the benchmark's own scores need ..." in lines and "  training ..." in lines
    assert not any(line.startswith("report:") for line in lines), "a cell's own verdict is not told twice"


# The table.


def test_the_table_is_made_from_the_folders_alone(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / "capitals-2" / "lune" / ".seed-2.partial-1").mkdir(exist_ok=True)  # what a killed process leaves
    for _ in range(2):  # the second table takes the place of the first
        assert main(["bench", "--table", str(out), "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    shown = capsys.readouterr().out
    assert "gur_neighbour" in shown
    assert "recall" in shown
    stored = json.loads((tmp_path / "table.json").read_text())
    assert [row["column"] for row in stored["rows"]] == ["before", "lune-paper", "lune", "reference"]
    lune = next(row for row in stored["rows"] if row["column"] == "lune")
    values = [record(out / "capitals-2" / "lune" / f"seed-{seed}")["metrics"]["after"]["apr"] for seed in (0, 1)]
    mean = sum(values) / 2
    assert lune["scores"]["apr"]["mean"] == pytest.approx(mean)
    assert lune["scores"]["apr"]["deviation"] == pytest.approx((2 * (values[0] - mean) ** 2) ** 0.5)
    assert lune["seeds"] == [0, 1]
    page = (tmp_path / "table.md").read_text()
    assert "| gur_neighbour | 1.000 ± 0.000 |" in page
    assert "distance from reference" in page
    lines = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    found = next(line for line in lines if (line["column"], line["score"]) == ("lune", "apr"))
    assert float(found["mean"]) == pytest.approx(mean)
    drawn = ET.fromstring((tmp_path / "table.svg").read_text())
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {
        "before",
        "lune",
        "lune-paper",
        "reference",
        "capitals: USR against gur_neighbour (filled: on the front)",
    } <= set(texts)


def test_a_table_replaces_no_file_of_somebody_elses(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.md").write_text("my own notes")
    assert main(["bench", "--table", str(out), "--out", str(tmp_path)]) == 2
    assert "holds table.md already" in capsys.readouterr().err
    assert (tmp_path / "table.md").read_text() == "my own notes"


def test_the_table_of_a_folder_without_cells_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--table", str(tmp_path)]) == 2
    assert "holds no finished cell" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_table_needs_no_name_where_out_is_the_bench(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    assert main(["bench", "--table", "--out", str(copy)]) == 0
    assert all((copy / name).is_file() for name in FILES)
    capsys.readouterr()
    assert main(["bench", "--table"]) == 2
    assert "needs the folder of a bench" in capsys.readouterr().err
    assert main(["bench"]) == 2
    assert "next: lune ls benchmarks" in capsys.readouterr().err


def test_two_folders_with_the_same_cells_are_refused(out: Path, tmp_path: Path) -> None:
    from lune.errors import OutputError

    with pytest.raises(OutputError, match="the same cell"):
        write_table([out, out], tmp_path)


def test_a_bench_folder_of_other_options_is_refused_before_the_model(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "world", "--out", str(out), "--model", "no/such-model"]) == 2
    assert "benchmark: capitals there, world now" in capsys.readouterr().err


def test_options_are_the_published_values_then_the_quick_ones_then_the_users() -> None:
    assert read_options(CAPITALS_BENCHMARK, [], quick=False) == {"facts": 2, "form": "plain"}
    assert read_options(CAPITALS_BENCHMARK, [], quick=True) == {"facts": 1, "form": "plain"}
    assert read_options(CAPITALS_BENCHMARK, ["facts=3", "form=chat"], quick=True) == {"facts": 3, "form": "chat"}
    with pytest.raises(ConfigError) as error:
        read_options(CAPITALS_BENCHMARK, ["facts=x", "forms=y"], quick=False)
    assert len(error.value.problems) == 2
