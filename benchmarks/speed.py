"""``make bench``: every arm in turn, each run in a fresh process, on one machine, with the same model and texts.

The record is written after every run, so a bench that was stopped goes on where it was: runs are kept when machine,
versions, code and options are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.plan import ARMS, FIGURES, Options, jobs
from benchmarks.record import RESULTS, ROOT, kept_runs, record, versions
from benchmarks.tables import PAGE, shown, with_tables
from lune.outputs import write_json, write_text
from lune.settings import BUILT_IN_MODEL

WORK = ROOT / "runs" / "speed"
"""Where the material and the processes' output are kept; not in the repository."""
REPETITIONS = 3
IN_SHORT = (
    *("step_tokens_per_s", "memory_above_weights_mb", "time_to_forget_s", "passes_to_forget", "usr", "apr"),
    *("gur_neighbour", "probes_per_s", "pass_s", "stage_s", "reason"),
)
"""What the terminal is told of a run."""


class JobFailed(Exception):
    """A process ended without a result; the message is the last thing it said."""


def order(what: Mapping[str, Any], log: Path) -> dict[str, Any]:
    """Have one thing done in a fresh process and return its result.

    Args:
        what: The order, as ``benchmarks.worker`` reads it.
        log: Receives what the process prints.

    Raises:
        JobFailed: When it ends without a result.
    """
    # With passive waiting the threads of a process go to sleep between operations, which halves its speed.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"HF_HUB_OFFLINE": "1"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, log.open("a", encoding="utf-8") as output:
        result = Path(folder) / "result.json"
        output.write(f"== {json.dumps(what)}\n")
        output.flush()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.worker"],
            input=json.dumps({**what, "result": str(result)}),
            text=True,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=ROOT,
            check=False,
        )
        if result.is_file():
            told: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
            return told
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    raise JobFailed(f"{lines[-1][:300]} (exit status {done.returncode})")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench and return the exit status: 1 when a run failed."""
    given = _parser().parse_args(arguments)
    arms = _chosen(given.arms, ARMS)
    figures = _chosen(given.only, FIGURES)
    options = Options(given.model, given.repetitions or (1 if given.quick else REPETITIONS), given.quick)
    log = WORK / "speed.log"
    try:
        machine = {**order({"do": "machine"}, log), "versions": versions()}
    except JobFailed as error:
        print(f"The machine could not be described: {error}. See {log}.")
        return 1
    out = given.out.resolve()
    wanted = options.as_dict()
    runs = {} if given.fresh else kept_runs(out, machine, wanted)
    if out.is_file() and not runs and not given.fresh:
        print(f"{out.name} was made with another machine, other versions, code or options: everything is done anew.")
    elif runs:
        print(f"{len(runs)} runs are kept from {out.name}.")
    material = _material(options, figures, machine["versions"]["code"], log)
    if material is None:
        return 1
    failed = 0
    for job in jobs(options, arms, figures, runs):
        if job.key in runs:
            continue
        began = time.monotonic()
        what = {"do": "job", "job": asdict(job), "model": options.model, "material": str(material)}
        try:
            runs[job.key] = order({**what, "probes": options.evaluation_probes}, log)
            told = _in_short(runs[job.key])
        except JobFailed as error:
            failed += 1
            runs[job.key] = {"failed": str(error)}
            told = f"failed: {error}"
        print(f"{job.key}: {told} ({time.monotonic() - began:.0f} s)", flush=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, record(machine, wanted, runs))
    if out == RESULTS:
        write_text(PAGE, with_tables(PAGE.read_text(encoding="utf-8"), shown()))
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--arms", default="", help=f"only these, separated by commas: {', '.join(ARMS)}")
    parser.add_argument("--only", default="", help=f"only these figures, separated by commas: {', '.join(FIGURES)}")
    parser.add_argument("--quick", action="store_true", help="one run, fewer probes, smaller growth, no rate tuned")
    parser.add_argument("--repetitions", type=int, help=f"runs of each figure ({REPETITIONS}; 1 with --quick)")
    parser.add_argument("--model", default=BUILT_IN_MODEL, help="the built-in model's name, or a local folder")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the record; the page follows the default one")
    parser.add_argument("--fresh", action="store_true", help="do everything anew")
    return parser


def _chosen(text: str, allowed: Sequence[str]) -> list[str]:
    """Return the names in ``text`` in the order of ``allowed``, all of them where it is empty.

    Raises:
        SystemExit: When a name is not among them.
    """
    named = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in named if name not in allowed]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    return [name for name in allowed if name in named or not named]


def _material(options: Options, figures: Sequence[str], code: str, log: Path) -> Path | None:
    """Return the file of what all arms are given, made where it is not there; None when it cannot be made."""
    tuned = "forget" in figures and not options.quick
    growth = "growth" in figures
    stem = f"{Path(options.model).name}-{code}"
    for more_tuned in (False, True):
        for more_growth in (False, True):
            path = _material_path(stem, tuned or more_tuned, growth or more_growth)
            if path.is_file():  # what holds more serves as well
                return path
    path = _material_path(stem, tuned, growth)
    print("making the requests, their negatives and probes ...", flush=True)
    what = {"do": "prepare", "model": options.model, "material": str(path), "tuned": tuned, "growth": growth}
    try:
        told = order(what, log)
    except JobFailed as error:
        print(f"The requests could not be made: {error}. See {log}.")
        return None
    write_json(path.with_suffix(".json"), told)
    return path


def _material_path(stem: str, tuned: bool, growth: bool) -> Path:
    return WORK / f"{stem}{'-tuned' if tuned else ''}{'-growth' if growth else ''}.pickle"


def _in_short(run: Mapping[str, Any]) -> str:
    """Return a result in one line for the terminal."""
    told = {name: run[name] for name in IN_SHORT if run.get(name) not in (None, "")}
    texts = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in told.items()}
    return ", ".join(f"{name} {text}" for name, text in texts.items())


if __name__ == "__main__":
    sys.exit(main())
