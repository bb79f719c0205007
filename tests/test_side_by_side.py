"""Cells beside each other, each in a process of its own: order, cores, failures, and the bench that comes of it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from lune.bench import side_by_side
from lune.bench.side_by_side import Unit, run_side_by_side, units
from lune.cli import main
from lune.errors import RunError

# Stands for `lune`: notes what it was given, takes a moment, and fails where the column says so.
PROCESS = """
import json, os, sys, time
words = sys.argv[1:]
began = time.time()
print("reading the benchmark ...")
print(f"[1 of 1] task, {words[-3]}, seed {words[-1]}: done", flush=True)
time.sleep(0.4)
note = {"words": words, "threads": os.environ["OMP_NUM_THREADS"], "began": began, "ended": time.time()}
open(f"{words[-3]}-{words[-1]}.json", "w").write(json.dumps(note))
if words[-3] == "npo":
    print("error[bad-run]: it diverged", file=sys.stderr)
sys.exit(3 if words[-3] == "npo" else 0)
"""


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    (tmp_path / "process.py").write_text(PROCESS)
    monkeypatch.setattr(side_by_side, "COMMAND", (sys.executable, "process.py"))


def note(name: str) -> dict[str, object]:
    told: dict[str, object] = json.loads(Path(f"{name}.json").read_text())
    return told


def test_the_reference_is_taught_once_before_other_seeds_ask_for_it() -> None:
    begun = [str(unit) for unit in units(["before", "lune", "reference"], [0, 3])]
    assert begun == [
        "before · seed 0", "before · seed 3", "lune · seed 0", "reference · seed 0", "lune · seed 3",
        "reference · seed 3",
    ]  # fmt: skip
    assert units(["ga"], [1]) == [Unit("ga", 1)]


def test_the_first_has_all_cores_and_is_alone_the_others_share_them() -> None:
    told: list[str] = []
    run_side_by_side(["bench", "tofu"], ["before", "ga", "lune"], [0], jobs=2, say=told.append)
    first, *rest = (note(name) for name in ("before-0", "ga-0", "lune-0"))
    assert first["words"] == ["bench", "tofu", "--methods", "before", "--seeds", "0"]
    assert [each["threads"] for each in (first, *rest)] == ["4", "2", "2"]
    assert all(first["ended"] <= each["began"] for each in rest)  # type: ignore[operator]
    assert max(each["began"] for each in rest) < min(each["ended"] for each in rest)  # type: ignore[type-var]
    assert "lune · seed 0 | [1 of 1] task, lune, seed 0: done" in told
    assert not any("reading" in line for line in told)


def test_a_last_round_that_is_not_full_has_more_cores_and_begins_when_the_one_before_has_ended() -> None:
    run_side_by_side(["bench", "tofu"], ["ga", "gd", "lune", "reference"], [0], jobs=2, say=lambda _: None)
    alone, one, other, last = (note(f"{name}-0") for name in ("ga", "gd", "lune", "reference"))
    assert [each["threads"] for each in (alone, one, other, last)] == ["4", "2", "2", "4"]
    assert last["began"] >= max(one["ended"], other["ended"])  # type: ignore[type-var, operator]


def test_what_fails_stops_no_other_and_is_told_with_its_reason() -> None:
    with pytest.raises(RunError, match="1 of 3 columns and seeds failed") as failed:
        run_side_by_side(["bench", "tofu"], ["before", "npo", "lune"], [0], jobs=1, say=lambda _: None)
    assert failed.value.problems == ("npo · seed 0: error[bad-run]: it diverged (exit status 3)",)
    assert note("lune-0")["threads"] == "4"


def test_the_command_runs_all_it_was_given_and_the_bench_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    gone_on = []
    monkeypatch.setattr("lune.bench.runner.run_bench", lambda plan, **_: gone_on.append(plan.out))
    flags = ["--quick", "--jobs", "2", "--seeds", "0,1", "--methods", "before,lune", "--set", "facts=3"]
    began = time.time()
    assert main(["bench", "world", "--model", "m", "--out", "here", *flags]) == 0
    assert gone_on == [Path("here")]
    told = note("lune-1")
    assert told["words"] == [
        "bench", "world", "--quick", "--model", "m", "--out", "here", "--set", "facts=3", "--methods", "lune",
        "--seeds", "1",
    ]  # fmt: skip
    assert told["began"] > began  # type: ignore[operator]


def test_one_cell_needs_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lune.bench.runner.run_bench", lambda plan, **_: None)
    assert main(["bench", "world", "--jobs", "2", "--seeds", "0", "--methods", "lune", "--out", "here"]) == 0
    assert not list(Path().glob("*.json"))
