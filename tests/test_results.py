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
    scale = {**told, "attack": "adapter-scale", "by_form": {"0": 0.0, "0.5": 0.25}, "threat": "Who holds the weights."}
    details = {"samples": 20, "leak_at_k": {"1": 0.1, "20": 0.5}, "leak_at_k_upper_bound": {"1": 0.2, "20": 0.9}}
    sampling = {**told, "attack": "sampling", "details": details}
    sampling["made"] = {"command": "lune attack seed-0 --with sampling"}
    attacks = [told, skipped, scale, sampling]
    record = {"command": "lune attack seed-0 --budget quick", "attacks": attacks}
    (cell / "attacks.json").write_text(json.dumps(record), encoding="utf-8")
    lines = make_results._attack_section(cell)
    assert "### Attacks on task, lune, seed-0" in lines
    assert "| nf4 | 4 | 1.000 | 0.500 | 0.500 [0.25, 0.75] | 0.750 | 3 |" in lines
    assert "| embedding | not made: too few facts | | | | | |" in lines
    assert "$ lune attack OUT/task/lune/seed-0 --budget quick" in lines
    assert "$ lune attack OUT/task/lune/seed-0 --with sampling" in lines, "each attack keeps the command that made it"
    assert "- `adapter-scale`, USR: 0: 0.000; 0.5: 0.250. Who holds the weights." in lines
    bound = "leak@1 0.100, leak@20 0.500; upper bound of leak@20, 95 %: 0.900."
    assert f"- `sampling`, 20 answers a prompt: {bound}" in lines


def test_a_benchmarks_texts_are_not_stored() -> None:
    fact = {"id": "a", "prompt": "Who?", "answer": "Ilse", "subject": "Ilse", "held_out": ["Bo"], "known": True}
    scores = {"before": {"usr": 0.0}, "after": {"usr": 1.0}}
    record = make_results._without_data({"facts": {"total": 1, "list": [dict(fact)]}, "metrics": scores})
    assert record == {"facts": {"total": 1, "list": [{"id": "a", "known": True}]}, "metrics": scores}
    attacked = {"attacks": [{"attack": "nf4", "facts": [{**fact, "after": "Ilse", "leaked_after": True}]}]}
    assert make_results._without_data(attacked)["attacks"][0]["facts"] == [
        {"id": "a", "known": True, "leaked_after": True}
    ]


def _record(layers: str, *, earlier: list[dict[str, object]], usr: float = 1.0) -> dict[str, object]:
    after = {"usr": usr, "paraphrase_usr": 0.9, "apr": 0.8, "gur_neighbour": 0.7, "gur_general": 0.6}
    after["gur_neighbour_by_relation"] = {"same": 0.75}  # type: ignore[assignment]
    return {
        "command": f"lune forget demo.jsonl --layers {layers}",
        "settings": {"layers": layers},
        "training": {"layers": [2, 3], "trained_parameters": 1234, "seconds_in_steps": 20.4, "adapter_rank": 7},
        "timings_s": {"train": 70.6, "total": 99.6},
        "verdict": "PARTLY",
        "metrics": {"after": after},
        "facts": {"list": [{"prompt": "What is the capital of France?"}]},
        "earlier_requests": earlier,
    }


def _write(folder: Path, record: dict[str, object]) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")


def test_the_page_begins_with_one_table_over_all_benches() -> None:
    stored = [ROOT / "results" / name for name in ("tofu", "world")]
    assert make_results.summary_section([]) == []
    lines = make_results.summary_section(stored)
    rows = [line for line in lines if line.startswith(("| tofu-", "| world-"))]
    assert [row.split(" | ")[1] for row in rows] == ["lune-paper", "lune", "reference", "lune-paper", "lune"]
    assert all(len(row.split(" | ")) == 9 for row in rows)


def test_a_bench_says_where_its_scores_say_little() -> None:
    record = {"bench": {"benchmark": "rwku"}, "metrics": {"after": {"counts": {"general": 3, "general_asked": 110}}}}
    few, trained, _ = make_results.reading_notes([record])
    assert "Of 110 general questions the model knew 3 before" in few and "trained" in trained
    record = {"bench": {"benchmark": "tofu"}, "metrics": {"after": {"counts": {"general": 64}}}}
    assert make_results.reading_notes([record]) == []


def test_runs_with_other_layers_make_a_table(tmp_path: Path) -> None:
    assert make_results.layers_section(tmp_path) == []
    _write(tmp_path / "layers" / "two", _record("2-3", earlier=[]))
    lines = make_results.layers_section(tmp_path)
    assert "| 2-3 | 2-3 | 1,234 | PARTLY | 1.000 | 0.900 | 0.800 | 0.700 | 0.750 | n/a | 0.600 | 20 | 71 |" in lines
    assert "$ lune forget demo.jsonl --layers 2-3" in lines


def test_requests_one_after_another_make_a_table_that_says_what_is_left_of_the_first(tmp_path: Path) -> None:
    assert make_results.sequence_section(tmp_path) == []
    _write(tmp_path / "sequence" / "01", _record("auto", earlier=[]))
    then = [{"folder": "01", "usr": 0.5, "gur_neighbour": 0.25}]
    _write(tmp_path / "sequence" / "02", _record("auto", earlier=then))
    first, second = make_results.sequence_section(tmp_path)[-9:-7]
    asked = "What is the capital of France? | PARTLY | 1.000 | 0.800 | 0.600"
    assert first == f"| 1 | {asked} | 1.000 | 1.000 | 0.700 | 7 | 100 |"
    assert second == f"| 2 | {asked} | 0.750 | 0.500 | 0.250 | 7 | 100 |"
