"""The speed benchmark's plan, its record, going on after a stop, and the tables of docs/performance.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import speed  # noqa: E402  (benchmarks/ is not installed; the line above makes it importable)
from benchmarks.plan import (  # noqa: E402
    ARMS,
    DOCUMENTED,
    FIGURES,
    GRID,
    LUNE,
    RIVALS,
    WAYS,
    Job,
    Options,
    jobs,
    rates_of,
    tuned_rate,
)
from benchmarks.record import RESULTS, best_rate, kept_runs, record  # noqa: E402
from benchmarks.tables import BEGIN, END, NOTHING, PAGE, shown, tables, with_tables  # noqa: E402
from lune.settings import resolve  # noqa: E402

OPTIONS = Options("model", 3, False)
MACHINE = {"cpu": "a processor", "cores": 2, "threads": 2, "memory_gb": 8.0, "dtype": "bfloat16", "device": "cpu"}
MACHINE |= {"versions": {"python": "3.11.0", "torch": "2.13.0", "code": "abc"}}
ARM_FIGURES = (
    *("step_tokens_per_s", "time_to_forget_s", "passes_to_forget", "memory_above_weights_mb"),
    *("trainable_parameters", "usr", "apr", "gur_neighbour"),
)
Runs = dict[str, dict[str, Any]]


def forgotten(seconds: float | None, *, rate: float = 1e-3, usr: float = 1.0) -> dict[str, Any]:
    reached = seconds is not None
    return {
        "learning_rate": rate,
        "reached": reached,
        "time_to_forget_s": seconds,
        "with_evaluation_s": seconds and seconds + 5,
        "passes_to_forget": 3 if reached else None,
        **{"usr": usr, "apr": 0.95, "gur_neighbour": 0.5},
        "reason": "" if reached else "not forgotten after 12 passes (all passes done)",
    }


def result(job: Job) -> dict[str, Any]:
    """Return what a worker might have found."""
    if job.kind == "steps":
        told = {"step_tokens_per_s": 100.0 + job.repetition, "memory_above_weights_mb": 50.0}
        return {**told, "trainable_parameters": 10, "step_s": [1.0]}
    if job.kind in ("grid", "forget"):
        return forgotten(10.0 + job.repetition, rate=job.rate or 0.05)
    if job.kind == "evaluation":
        return {"probes_per_s": 2.0, "answers": ["a", "b" if job.arm == "lune" else "c"]}
    if job.kind == "profile":
        told = {"shares": {"matrix products": 0.75, "copies": 0.25}, "dtype": "bfloat16", "share_of_peak": 0.6}
        return {**told, "flops_per_s": 3e11, "peak_flops_per_s": 5e11}
    return {
        "pass_s": 2.0 * job.facts,
        "stage_s": 3.0 * job.facts,
        "memory_above_weights_mb": 9.0,
        "negatives": job.facts,
    }


def all_runs(options: Options = OPTIONS) -> Runs:
    runs: Runs = {}
    for job in jobs(options, ARMS, FIGURES, runs):
        runs[job.key] = result(job)
    return runs


# The plan.


def test_the_settings_of_this_projects_arms_are_allowed() -> None:
    found = {arm: resolve(given) for arm, given in LUNE.items()}
    assert (found["lune-all"].layers, found["lune-all"].rank, found["lune-all"].adapter) == ("all", 16, "lora")
    assert (found["lune-fast"].layers, found["lune-fast"].rank) == ("top:8", 16)
    assert found["lune"] == resolve({})


def test_every_documented_rate_is_in_the_grid_it_is_compared_in() -> None:
    assert all(DOCUMENTED[arm] in rates for arm, rates in GRID.items())
    assert set(RIVALS) < set(GRID)


def test_arms_take_turns_within_each_repetition() -> None:
    keys = [job.key for job in jobs(OPTIONS, ["trl-peft", "lune"], ["steps"], {})]
    assert keys == [f"steps/{arm}/{number}" for number in range(3) for arm in ("trl-peft", "lune")]


def test_every_job_has_a_key_of_its_own() -> None:
    found = [job.key for job in jobs(OPTIONS, ARMS, FIGURES, all_runs())]
    assert len(found) == len(set(found)) == len(all_runs())


def test_a_quick_bench_tunes_nothing_and_grows_less() -> None:
    found = list(jobs(Options("model", 1, True), ARMS, FIGURES, {}))
    assert not [job for job in found if job.kind == "grid"]
    assert {job.facts for job in found if job.kind == "growth"} == {10, 30, 100}
    assert {job.rate for job in found if job.kind == "forget" and job.arm == "trl-peft"} == {2e-4}


def test_where_the_time_goes_is_a_table_of_its_own_and_no_arms_figure() -> None:
    runs = all_runs()
    assert {key for key in runs if key.startswith("profile/")} == {
        "profile/lune-all/0", "profile/lune-fast/0", "profile/lune/0", "profile/answering/0",
    }  # fmt: skip
    told = record(MACHINE, OPTIONS.as_dict(), runs)
    assert list(told["arms"]) == list(ARMS)
    assert "| answering | 75% | 25% | 300 | 500 (bfloat16) | 60% |" in tables(told)


def test_the_tuned_rate_is_the_soonest_at_the_goal_else_what_forgot_most() -> None:
    def tried(slow: dict[str, Any], fast: dict[str, Any]) -> float | None:
        return tuned_rate("trl-peft", {"grid/trl-peft/0.0002/0": slow, "grid/trl-peft/0.001/0": fast})

    assert tried(forgotten(20.0), forgotten(10.0)) == 1e-3
    assert tried(forgotten(20.0), forgotten(None)) == 2e-4
    assert tried(forgotten(None, usr=0.5), forgotten(None, usr=0.7)) == 1e-3
    assert tuned_rate("trl-peft", {"grid/trl-peft/0.0002/0": {"failed": "it broke"}}) is None


def test_both_rates_are_run_and_a_hopeless_one_only_once() -> None:
    runs: Runs = {"grid/trl-peft/0.0002/0": forgotten(None), "grid/trl-peft/0.001/0": forgotten(9.0)}
    assert rates_of("trl-peft", runs) == [2e-4, 1e-3]
    done = []
    for job in jobs(OPTIONS, ["trl-peft"], ["forget"], runs):
        done.append(job.key)
        runs[job.key] = forgotten(9.0 if job.rate == 1e-3 else None)
    assert done == [
        *("grid/trl-peft/0.0002/0", "grid/trl-peft/0.001/0", "forget/trl-peft/0.0002/0"),
        *(f"forget/trl-peft/0.001/{number}" for number in range(3)),
    ]


def test_the_default_recipe_is_run_at_its_own_rate() -> None:
    assert rates_of("lune", {}) == [None]


# The record.


def test_the_record_has_the_shape_that_was_agreed_on() -> None:
    told = record(MACHINE, OPTIONS.as_dict(), all_runs())
    assert json.loads(json.dumps(told, allow_nan=False))
    assert list(told)[:1] == ["machine"]
    assert tuple(told["arms"]) == ARMS
    assert tuple(told["evaluation"]) == WAYS
    for figures in told["arms"].values():
        assert tuple(figures) == ARM_FIGURES
        assert all({"median", "min", "max"} <= set(figure) for figure in figures.values())
    assert all(set(way) == {"probes_per_s"} for way in told["evaluation"].values())
    assert told["arms"]["lune"]["step_tokens_per_s"] == {"median": 101.0, "min": 100.0, "max": 102.0}
    assert told["details"]["evaluation"] == {
        "batched-16": {"answers": 2, "different_from_one-by-one": 0},
        "lune": {"answers": 2, "different_from_one-by-one": 1},
    }
    assert told["growth"]["wide"]["lune-fast"]["exponent"]["pass_s"] == pytest.approx(1.0)
    assert told["growth"]["built-in"]["lune"]["exponent"]["memory_above_weights_mb"] == pytest.approx(0.0)


def test_an_arm_is_reported_at_the_rate_that_suits_it_best() -> None:
    runs: Runs = {"grid/trl-peft/0.0002/0": forgotten(9.0), "grid/trl-peft/0.001/0": forgotten(8.0)}
    runs |= {f"forget/trl-peft/0.0002/{number}": forgotten(20.0, rate=2e-4) for number in range(3)}
    runs |= {f"forget/trl-peft/0.001/{number}": forgotten(30.0) for number in range(3)}
    assert best_rate("trl-peft", runs) == 2e-4
    told = record(MACHINE, OPTIONS.as_dict(), runs)
    assert told["arms"]["trl-peft"]["time_to_forget_s"]["median"] == 20.0
    assert [(rate["learning_rate"], rate["reported"]) for rate in told["details"]["arms"]["trl-peft"]["rates"]] == [
        (2e-4, True),
        (1e-3, False),
    ]


def test_what_was_not_reached_or_failed_is_null_with_the_reason() -> None:
    runs: Runs = {"forget/lune/0": forgotten(None), "steps/lune/0": {"failed": "MemoryError (exit status 1)"}}
    figures = record(MACHINE, OPTIONS.as_dict(), runs)["arms"]["lune"]
    assert figures["time_to_forget_s"]["median"] is None
    assert figures["time_to_forget_s"]["reason"].endswith("not forgotten after 12 passes (all passes done)")
    assert figures["step_tokens_per_s"]["reason"] == "1 of 1 runs: MemoryError (exit status 1)"
    assert figures["usr"]["median"] == 1.0


def test_runs_are_kept_only_where_everything_they_depend_on_is_equal(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    runs: Runs = {"steps/lune/0": result(Job("steps", "lune")), "steps/lune/1": {"failed": "killed"}}
    path.write_text(json.dumps(record(MACHINE, OPTIONS.as_dict(), runs)))
    assert set(kept_runs(path, MACHINE, OPTIONS.as_dict())) == {"steps/lune/0"}, "a failed run is tried again"
    newer = {**MACHINE, "versions": {**MACHINE["versions"], "torch": "3"}}  # type: ignore[dict-item]
    assert kept_runs(path, newer, OPTIONS.as_dict()) == {}
    assert kept_runs(path, {**MACHINE, "cores": 4}, OPTIONS.as_dict()) == {}
    assert kept_runs(path, MACHINE, Options("model", 3, True).as_dict()) == {}
    path.write_text('{"machine": ')
    assert kept_runs(path, MACHINE, OPTIONS.as_dict()) == {}


def test_a_bench_that_was_killed_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def order(what: Mapping[str, Any], log: Path) -> dict[str, Any]:
        if what["do"] == "machine":
            return {name: value for name, value in MACHINE.items() if name != "versions"}
        if what["do"] == "prepare":
            return {}
        job = Job(**what["job"])
        if len(done) == 3:
            done.append("")
            raise KeyboardInterrupt
        done.append(job.key)
        return result(job)

    monkeypatch.setattr(speed, "order", order)
    monkeypatch.setattr(speed, "WORK", tmp_path)
    out = tmp_path / "results" / "speed.json"
    arguments = ["--only", "steps", "--arms", "lune,trl-peft", "--out", str(out)]
    with pytest.raises(KeyboardInterrupt):
        speed.main(arguments)
    assert len(json.loads(out.read_text())["runs"]) == 3
    assert speed.main(arguments) == 0
    assert len(json.loads(out.read_text())["runs"]) == 6
    assert len([key for key in done if key]) == len({key for key in done if key}) == 6, "nothing was done twice"
    assert speed.main([*arguments, "--fresh"]) == 0
    assert len([key for key in done if key]) == 12


def test_a_run_that_fails_does_not_end_the_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def order(what: Mapping[str, Any], log: Path) -> dict[str, Any]:
        if what["do"] == "machine":
            return {}
        if what["do"] == "job" and what["job"]["arm"] == "trl-peft":
            raise speed.JobFailed("ModuleNotFoundError: No module named 'trl' (exit status 1)")
        return result(Job(**what["job"])) if what["do"] == "job" else {}

    monkeypatch.setattr(speed, "order", order)
    monkeypatch.setattr(speed, "WORK", tmp_path)
    out = tmp_path / "speed.json"
    assert speed.main(["--only", "steps", "--arms", "trl-peft,lune", "--quick", "--out", str(out)]) == 1
    arms = json.loads(out.read_text())["arms"]
    assert "No module named 'trl'" in arms["trl-peft"]["step_tokens_per_s"]["reason"]
    assert arms["lune"]["step_tokens_per_s"]["median"] == 100.0


def test_a_process_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(speed.JobFailed, match=r"FileNotFoundError.*\(exit status 1\)"):
        job = {"kind": "steps", "arm": "lune"}
        missing = str(tmp_path / "missing.pickle")
        speed.order({"do": "job", "job": job, "model": "m", "material": missing, "probes": 1}, tmp_path / "log")


def test_unknown_arms_are_refused() -> None:
    with pytest.raises(SystemExit, match="unknown: unsloth; allowed: full-ft-fp32"):
        speed.main(["--arms", "unsloth"])


# The tables.


def test_the_page_shows_the_stored_record() -> None:
    between = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    assert between == shown(), "docs/performance.md is not what benchmarks/results/speed.json says: run `make bench`"


def test_without_a_record_the_page_says_so(tmp_path: Path) -> None:
    assert shown(tmp_path / "speed.json") == NOTHING


def test_the_stored_record_follows_from_its_runs() -> None:
    if not RESULTS.is_file():
        pytest.skip("no bench is stored")
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))
    again = json.loads(json.dumps(record(stored["machine"], stored["options"], stored["runs"])))
    assert stored == again


def test_tables_hold_medians_spread_and_ratios() -> None:
    runs = all_runs()
    for number in range(3):
        runs[f"steps/lune-fast/{number}"]["step_tokens_per_s"] = 1212.0
    text = tables(record(MACHINE, OPTIONS.as_dict(), runs))
    assert "| trl-peft | 101 [100–102] | 1.0 |" in text
    assert "| lune-fast | 1,212 | 12.0 | 11.0 [10.0–12.0] | 3 | 1.0 | 50 | 10 | 1.000 | 0.950 | 0.500 |" in text
    assert "| lune | 2.00 | 1.0 | 1 of 2 |" in text
    assert "| built-in | lune | 10 | 10 | 20.0 | 30.0 | 9 |" in text
    assert "- wide, lune-fast: steps 1.00, whole stage 1.00, memory 0.00" in text
    assert "a processor, 2 cores, 2 threads" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| lune-fast | 1,212")}
    assert widths == {12}, "as many cells as the head has"


def test_a_table_names_what_was_not_reached_and_why() -> None:
    text = tables(record(MACHINE, OPTIONS.as_dict(), {"forget/lune/0": forgotten(None)}))
    assert "- lune: 1 of 1 runs: not forgotten after 12 passes (all passes done)" in text
    assert "not measured" not in text


def test_only_what_is_between_the_markers_is_replaced() -> None:
    page = f"# Speed\n\n{BEGIN}\n\nold\n\n{END}\n\nmore\n"
    assert with_tables(page, "new") == f"# Speed\n\n{BEGIN}\n\nnew\n\n{END}\n\nmore\n"
    with pytest.raises(ValueError, match="each of these lines once"):
        with_tables("# Speed", "new")
