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
