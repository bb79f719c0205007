"""The results page says what the stored run records say, and stands without any."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import make_results  # noqa: E402  (tools/ is no package; the line above makes it importable)


def test_the_scores_before_are_those_of_the_record(tmp_path: Path) -> None:
    record = json.loads(next((ROOT / "results").glob("*/run.json")).read_text(encoding="utf-8"))
    record["metrics"]["before"]["gur_neighbour_by_relation"]["same"] = 0.123
    record["metrics"]["after"]["gur_neighbour_by_relation"]["same"] = 0.456
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert "| gur_neighbour, same relation | 0.123 | 0.456 |" in make_results.results_page(tmp_path)


def test_without_stored_runs_the_page_says_so(tmp_path: Path) -> None:
    page = make_results.results_page(tmp_path)
    assert page.startswith("<!-- Written by `make docs`")
    assert "No run is stored here yet" in page


def test_the_source_distribution_holds_what_the_page_is_made_of() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert "/results" in targets["sdist"]["include"]


def test_the_attacks_on_a_cell_stand_under_its_bench(tmp_path: Path) -> None:
    cell = tmp_path / "task" / "lune" / "seed-0"
    cell.mkdir(parents=True)
    told = {"attack": "nf4", "facts": [{}, {}, {}, {}], "base_gives": 0.75, "seconds": 3.4, "skipped": ""}
    told |= {"usr_before": {"value": 1.0}, "usr_after": {"value": 0.5}}
    told |= {"recovered": {"value": 0.5, "low": 0.25, "high": 0.75}}
    skipped = {"attack": "embedding", "skipped": "too few facts"}
    record = {"command": "lune attack seed-0 --budget quick", "attacks": [told, skipped]}
    (cell / "attacks.json").write_text(json.dumps(record), encoding="utf-8")
    lines = make_results._attack_section(cell)
    assert "### Attacks on task, lune, seed-0" in lines
    assert "| nf4 | 4 | 1.000 | 0.500 | 0.500 [0.25, 0.75] | 0.750 | 3 |" in lines
    assert "| embedding | not made: too few facts | | | | | |" in lines
    assert "$ lune attack OUT/task/lune/seed-0 --budget quick" in lines


def test_a_benchmarks_texts_are_not_stored() -> None:
    fact = {"id": "a", "prompt": "Who?", "answer": "Ilse", "subject": "Ilse", "held_out": ["Bo"], "known": True}
    scores = {"before": {"usr": 0.0}, "after": {"usr": 1.0}}
    record = make_results._without_data({"facts": {"total": 1, "list": [dict(fact)]}, "metrics": scores})
    assert record == {"facts": {"total": 1, "list": [{"id": "a", "known": True}]}, "metrics": scores}
    attacked = {"attacks": [{"attack": "nf4", "facts": [{**fact, "after": "Ilse", "leaked_after": True}]}]}
    assert make_results._without_data(attacked)["attacks"][0]["facts"] == [
        {"id": "a", "known": True, "leaked_after": True}
    ]
