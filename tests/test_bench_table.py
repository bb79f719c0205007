"""Scores over seeds and tasks, the Pareto front, the stored results: from small made-up cells, without a model."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from lune.bench.cells import differences, read_protocol, task_hash, write_protocol
from lune.bench.plan import read_columns
from lune.bench.results import ALL_TASKS, Row, read_cells, rows
from lune.bench.table import FILES, grids, markdown, pareto_front, write_table
from lune.benchmarks.task import Task
from lune.errors import OutputError
from lune.records import Fact

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import make_results


def cell(out: Path, task: str, column: str, seed: int, *, protocol: dict[str, float | None] | None = None,
         **scores: float | None) -> Path:  # fmt: skip
    """Write a cell with these scores and return its folder."""
    auc = scores.pop("mia_loss", 0.5)
    known = scores.pop("known", 2)
    counts = {"direct": known, "paraphrase": 6, "adversarial": 20, "neighbour": 5, "general": 9}
    folder = out / task / column / f"seed-{seed}"
    folder.mkdir(parents=True)
    record: dict[str, Any] = {
        "command": "lune bench made-up --data /home/somebody/data/made-up",
        "bench": {"benchmark": "made-up", "task": task, "column": column, "seed": seed, "options": {"n": 1},
                  "base_sha256": "abc"},
        "metrics": {"after": {"usr": 1.0, "gur": 0.9, "gur_neighbour": 0.8, "mia": {"loss": {"auc": auc}},
                              "counts": counts, **scores}},
        "facts": {"total": 3, "known": known, "list": []},
        "settings": {"model": "/home/somebody/.cache/lune/taught/12ab"},
        "hardware": {"cpu": "a processor", "cores": 2},
        "timings_s": {"total": 90.0},
        "verdict": "PARTLY",
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    if protocol is not None:
        (folder / "scores.json").write_text(json.dumps(protocol))
    return folder


def table(out: Path) -> dict[tuple[str, str], Row]:
    return {(row.task, row.column): row for row in rows(read_cells([out]))}


def test_mean_and_sample_deviation_over_seeds(tmp_path: Path) -> None:
    for seed, usr in enumerate((0.4, 0.6, 0.8)):
        cell(tmp_path, "a", "lune", seed, usr=usr, protocol={"rouge": usr / 2})
    row = table(tmp_path)["a", "lune"]
    assert row.scores["usr"].mean == pytest.approx(0.6)
    assert row.scores["usr"].deviation == pytest.approx(0.2)  # sqrt((0.04 + 0 + 0.04) / 2)
    assert row.protocol["rouge"].deviation == pytest.approx(0.1)
    assert row.seeds == (0, 1, 2)
    assert row.verdicts == {"PARTLY": 3}


def test_one_seed_has_no_deviation_and_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    cell(tmp_path, "a", "lune", 0, usr=None, protocol={"p": None, "q": 1e-9})
    row = table(tmp_path)["a", "lune"]
    assert "usr" not in row.scores
    assert "p" not in row.protocol
    assert row.scores["gur"].deviation is None
    page = markdown([row])
    assert "| GUR | 0.900 |" in page
    assert "| protocol: q | 1e-09 |" in page


def test_several_tasks_are_averaged_for_each_seed_before_the_seeds_are(tmp_path: Path) -> None:
    for task, seed, usr in (("a", 0, 0.0), ("b", 0, 1.0), ("a", 1, 0.5), ("b", 1, 0.7)):
        cell(tmp_path, task, "lune", seed, usr=usr)
    row = table(tmp_path)[ALL_TASKS, "lune"]
    assert row.scores["usr"].values == (0.5, pytest.approx(0.6))
    assert row.scores["usr"].mean == pytest.approx(0.55)
    assert row.cells == 4


def test_the_distance_to_the_references_auc_is_of_the_same_seed(tmp_path: Path) -> None:
    for seed, own, other in ((0, 0.2, 0.5), (1, 0.9, 0.6)):
        cell(tmp_path, "a", "lune", seed, mia_loss=own)
        cell(tmp_path, "a", "reference", seed, mia_loss=other)
    rows_there = table(tmp_path)
    gap = rows_there["a", "lune"].scores["mia_loss_from_reference"]
    assert gap.values == (pytest.approx(0.3), pytest.approx(0.3))
    assert "mia_loss_from_reference" not in rows_there["a", "reference"].scores


def test_every_table_shows_the_neighbours_and_many_tasks_are_listed(tmp_path: Path) -> None:
    for number in range(8):
        cell(tmp_path, f"task-{number}", "lune", 0)
    shown = grids(rows(read_cells([tmp_path])))
    assert [title for title, _ in shown] == ["made-up: all tasks", "made-up: task by task"]
    for _, (headings, lines) in shown:
        assert {"gur_neighbour", "known facts"} <= {*headings, *(line[0] for line in lines)}
    assert len(shown[1][1][1]) == 8


def test_tables_say_how_many_known_facts_and_probes_stand_behind_the_shares(tmp_path: Path) -> None:
    cell(tmp_path, "a", "lune", 0)
    cell(tmp_path, "b", "lune", 0, known=1)
    cell(tmp_path, "a", "lune", 1)
    whole, first, _ = ({line[0]: line[1] for line in lines} for _, (_, lines) in grids(rows(read_cells([tmp_path]))))
    assert (first["known facts"], first["probes: adversarial"], first["probes: neighbour"]) == ("2 of 3", "20", "5")
    assert whole["known facts"] == "2-3 of 3-6", "of seed 1 only one task is there"
    write_table([tmp_path], tmp_path / "out")
    lines = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text().splitlines()))
    assert {(line["known_facts"], line["facts"]) for line in lines if line["task"] == "b"} == {("1", "3")}
    stored = json.loads((tmp_path / "out" / "table.json").read_text())["rows"]
    assert stored[1]["counts"]["known_facts"] == [2, 2]


def test_columns_stand_in_their_order(tmp_path: Path) -> None:
    for column in ("reference", "npo", "lune", "before", "lune-paper"):
        cell(tmp_path, "a", column, 0)
    order = [row.column for row in rows(read_cells([tmp_path]))]
    assert order == ["before", "lune-paper", "lune", "npo", "reference"]
    assert read_columns("reference, before") == ("reference", "before")


def test_the_front_holds_what_nothing_beats() -> None:
    points = [(0.9, 0.5), (0.5, 0.9), (0.5, 0.5), (0.9, 0.4), (0.4, 0.9), (0.7, 0.7)]
    assert pareto_front(points) == {(0.9, 0.5), (0.5, 0.9), (0.7, 0.7)}
    assert pareto_front([(0.5, 0.5), (0.5, 0.5)]) == {(0.5, 0.5)}


def test_the_figure_fills_what_is_on_the_front(tmp_path: Path) -> None:
    cell(tmp_path, "a", "before", 0, usr=0.0, gur=1.0, gur_neighbour=1.0)
    cell(tmp_path, "a", "lune", 0, usr=0.9, gur=0.8, gur_neighbour=0.9)
    cell(tmp_path, "a", "lune-paper", 0, usr=0.8, gur=0.7, gur_neighbour=0.1)
    cell(tmp_path, "a", "reference", 0, usr=0.9, gur=0.8, gur_neighbour=0.9)
    write_table([tmp_path], tmp_path)
    drawn = (tmp_path / "table.svg").read_text()
    assert drawn.count('class="mark mark-0"') == 2, "lune, in both panels"
    assert drawn.count('class="mark mark-1"') == 6, "before, the paper's recipe and, in the same place, the reference"
    assert "lune GUR 0.800, USR 0.900 on the front" in drawn
    assert "before GUR 1.000, USR 0.000, lune" in drawn, "what keeps everything and forgets nothing is no rival"


def test_names_in_the_figure_lie_on_no_other_name_and_on_no_marker() -> None:
    from lune.report.figures import LETTER_HEIGHT, LETTER_WIDTH, WIDTH, _place_names

    points = [(340.0, 50.0 + near, name) for near, name in enumerate(("lune", "lune-paper", "npo", "simnpo", "undial"))]
    points += [(348.0, 260.0, "before"), (345.0, 258.0, "reference")]
    places = _place_names(points, 40.0, 258.0)
    boxes = [(x, y - LETTER_HEIGHT / 2, x + LETTER_WIDTH * len(name), y + LETTER_HEIGHT / 2)
             for (x, y), (_, _, name) in zip(places, points, strict=True)]  # fmt: skip
    for place, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and right <= WIDTH and top >= 30 and bottom <= 266
        others = boxes[:place] + [(x - 3, y - 3, x + 3, y + 3) for x, y, _ in points]
        assert not any(left < o[2] and o[0] < right and top < o[3] and o[1] < bottom for o in others)


def test_cells_of_two_models_make_no_table(tmp_path: Path) -> None:
    cell(tmp_path, "a", "lune", 0)
    other = cell(tmp_path, "a", "lune", 1) / "run.json"
    other.write_text(other.read_text().replace('"abc"', '"xyz"'))
    with pytest.raises(OutputError, match="different base models"):
        read_cells([tmp_path])


@pytest.mark.parametrize("text", ["{}", "[1]", "{", '{"bench": {}, "metrics": {"after": {}}}'])
def test_a_record_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = cell(tmp_path, "a", "lune", 0) / "run.json"
    path.write_text(text)
    with pytest.raises(OutputError, match=re.escape(str(path))):
        read_cells([tmp_path])


def test_large_protocols_are_packed_and_read_back(tmp_path: Path) -> None:
    large = {"answers": ["é" * 1000] * 1200}
    write_protocol(tmp_path, large)
    assert (tmp_path / "protocol.json.gz").stat().st_size < 100_000
    assert read_protocol(tmp_path) == large
    (tmp_path / "protocol.json.gz").write_bytes(b"\x1f\x8bno")
    with pytest.raises(OutputError, match="cannot be read"):
        read_protocol(tmp_path)


def test_the_hash_of_a_task_is_that_of_its_content() -> None:
    task = Task("a", (Fact("1", "p", "q"),), details={"sets": {"x", "y", "z"}})
    assert task_hash(task) == task_hash(Task("a", (Fact("1", "p", "q"),), details={"sets": {"z", "y", "x"}}))
    assert task_hash(task) != task_hash(Task("a", (Fact("1", "p", "r"),), details={"sets": {"x", "y", "z"}}))


def test_differences_name_both_values_and_pass_over_places() -> None:
    record = {"bench": {"options": {"n": 1}}, "settings": {"rank": 8, "model": "a", "out": None}}
    assert differences(record, {"options": {"n": 1}}, {"rank": 8, "model": "b", "out": "c"}) == []
    assert differences(record, {"options": {"n": 2}}, {"rank": 4}) == [
        "options: {'n': 1} there, {'n': 2} now", "--rank: 8 there, 4 now",
    ]  # fmt: skip


# Stored results.


def test_the_results_page_is_rebuilt_from_the_stored_cells(tmp_path: Path) -> None:
    for seed in (0, 1):
        cell(tmp_path / "out", "a", "before", seed, protocol={"quality": 0.1})
        cell(tmp_path / "out", "a", "lune", seed, protocol={"quality": 0.25 + seed / 2})
    results = tmp_path / "results"
    make_results.store_bench(tmp_path / "out", results / "made-up")
    stored = sorted(path.name for path in (results / "made-up").rglob("*") if path.is_file())
    assert stored == ["run.json"] * 4 + ["scores.json"] * 4
    page = make_results.results_page(results)
    assert "| protocol: quality | 0.100 ± 0.000 | 0.500 ± 0.354 |" in page
    assert "4 cells, 6.0 minutes, on a processor, 2 cores" in page
    for text in (page, *(path.read_text() for path in results.rglob("*.json"))):
        assert "somebody" not in text
    assert "$ lune bench made-up --data DIR" in page


def test_storing_again_replaces_and_storing_nothing_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "made-up"
    cell(tmp_path / "one", "a", "lune", 0)
    cell(tmp_path / "two", "b", "lune", 0)
    make_results.store_bench(tmp_path / "one", folder)
    make_results.store_bench(tmp_path / "two", folder)
    assert [path.name for path in folder.iterdir()] == ["b"]
    with pytest.raises(OutputError):
        make_results.store_bench(tmp_path, folder)
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert set(FILES).isdisjoint(path.name for path in folder.rglob("*"))
