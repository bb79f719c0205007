"""The record of a bench, benchmarks/results/speed.json: every run, and the figures that follow from the runs."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.measures import Figure, exponent, figure
from benchmarks.plan import (
    ARMS,
    DOCUMENTED,
    GROWTH_ARMS,
    SIZES,
    WAYS,
    Job,
    Runs,
    rates_of,
    tuned_rate,
)

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "speed.json"
STEP_FIGURES = ("step_tokens_per_s", "memory_above_weights_mb", "trainable_parameters")
FORGET_FIGURES = ("time_to_forget_s", "passes_to_forget", "usr", "apr", "gur_neighbour")
GROWTH_FIGURES = ("pass_s", "stage_s", "memory_above_weights_mb")
_PACKAGES = ("torch", "transformers", "accelerate", "peft", "trl", "datasets")
_NO_MEASUREMENT = ("record.py", "tables.py", "speed.py")
"""Modules of this package that no figure depends on: changing them keeps what was measured."""


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries, and a hash over this project's code and data."""
    digest = hashlib.sha256()
    package = ROOT / "src" / "lune"
    files = [path for path in package.rglob("*") if path.suffix in {".py", ".json", ".jsonl"}]
    files += [path for path in (ROOT / "benchmarks").glob("*.py") if path.name not in _NO_MEASUREMENT]
    for path in sorted(files):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "code": digest.hexdigest()[:16]}


def kept_runs(path: Path, machine: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the runs of an earlier bench that still count; none where machine, versions or options were others.

    A run that failed is not kept: what was wrong may have been put right.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        same = record["machine"] == _plain(machine) and record["options"] == _plain(options)
        return {key: run for key, run in record["runs"].items() if "failed" not in run} if same else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _plain(value: Any) -> Any:
    """Return a value as it comes back from JSON."""
    return json.loads(json.dumps(value))


def record(machine: Mapping[str, Any], options: Mapping[str, Any], runs: Runs) -> dict[str, Any]:
    """Return the whole record; everything but the three arguments follows from ``runs``."""
    present = [
        arm
        for arm in ARMS
        if any(key.split("/")[1] == arm and not key.startswith(("growth/", "profile/")) for key in runs)
    ]
    ways = [way for way in WAYS if any(key.startswith(f"evaluation/{way}/") for key in runs)]
    return {
        "machine": dict(machine),
        "options": dict(options),
        "arms": {arm: _arm(arm, runs) for arm in present},
        "evaluation": {way: {"probes_per_s": _over(_of("evaluation", way, runs), "probes_per_s")} for way in ways},
        "growth": _growth(runs),
        "profile": {key.split("/")[1]: run for key, run in runs.items() if key.startswith("profile/")},
        "details": {
            "arms": {arm: _details(arm, runs) for arm in present},
            "evaluation": _different_answers(ways, runs),
        },
        "runs": dict(runs),
    }


def _of(kind: str, arm: str, runs: Runs) -> list[Mapping[str, Any]]:
    return [run for key, run in runs.items() if key.startswith(f"{kind}/{arm}/")]


def _over(runs: Sequence[Mapping[str, Any]], name: str) -> Figure:
    """Return a figure over several runs, with the reason of one that has none."""
    reasons = [str(run.get("failed") or run.get("reason") or "") for run in runs if run.get(name) is None]
    return figure([run.get(name) for run in runs], next(filter(None, reasons), ""))


def _arm(arm: str, runs: Runs) -> dict[str, Figure]:
    """Return the figures of an arm; time to forget is that of the learning rate at which the arm was faster."""
    steps = _of("steps", arm, runs)
    forgotten = _at_rate(arm, best_rate(arm, runs), runs)
    figures = {name: _over(steps, name) for name in STEP_FIGURES} | {
        name: _over(forgotten, name) for name in FORGET_FIGURES
    }
    order = ("step_tokens_per_s", "time_to_forget_s", "passes_to_forget", "memory_above_weights_mb")
    return {name: figures[name] for name in (*order, "trainable_parameters", "usr", "apr", "gur_neighbour")}


def _at_rate(arm: str, rate: float | None, runs: Runs) -> list[Mapping[str, Any]]:
    """Return the runs of an arm at one learning rate, in the order of their repetition."""
    found = []
    number = 0
    while (run := runs.get(Job("forget", arm, number, rate).key)) is not None:
        found.append(run)
        number += 1
    return found


def best_rate(arm: str, runs: Runs) -> float | None:
    """Return the learning rate that an arm is reported at: the faster one at the goal, else what forgot more."""

    def merit(rate: float | None) -> tuple[float, float]:
        tried = _at_rate(arm, rate, runs)
        median = _over(tried, "time_to_forget_s")["median"]
        scores = [(run.get("usr") or 0.0) + (run.get("apr") or 0.0) for run in tried]
        return -median if median is not None else float("-inf"), max(scores, default=0.0)

    return max(rates_of(arm, runs), key=merit)


def _details(arm: str, runs: Runs) -> dict[str, Any]:
    """Return what stands beside an arm's figures: every learning rate, and times with evaluation."""
    rates = []
    for rate in rates_of(arm, runs):
        tried = _at_rate(arm, rate, runs)
        named = {
            "learning_rate": next((run["learning_rate"] for run in tried if "learning_rate" in run), rate),
            "documented": rate is None or rate == DOCUMENTED.get(arm),
            "tuned": rate is not None and rate == tuned_rate(arm, runs),
            "reported": rate == best_rate(arm, runs),
            "runs": len(tried),
        }
        figures = ("time_to_forget_s", "with_evaluation_s", *FORGET_FIGURES[1:])
        rates.append(named | {name: _over(tried, name) for name in figures})
    steps = _of("steps", arm, runs)
    negatives = _over(steps, "negative_tokens_per_s") if any("negative_tokens_per_s" in run for run in steps) else None
    return {"rates": rates, **({"negative_tokens_per_s": negatives} if negatives else {})}


def _different_answers(ways: Sequence[str], runs: Runs) -> dict[str, Any]:
    """Return how many answers of each way differ from those of the first, of how many."""
    answers = {
        way: next((run["answers"] for run in _of("evaluation", way, runs) if "answers" in run), None) for way in ways
    }
    first = answers.get(WAYS[0])
    told: dict[str, Any] = {}
    for way in ways[1:] if first else ():
        other = answers[way]
        if first and other and len(other) == len(first):
            differing = sum(one != two for one, two in zip(first, other, strict=True))
            told[way] = {"answers": len(first), f"different_from_{WAYS[0]}": differing}
    return told


def _growth(runs: Runs) -> dict[str, Any]:
    """Return time and memory by model size, arm and number of facts, with the exponents over the facts."""
    told: dict[str, Any] = {}
    for size in SIZES:
        for arm in GROWTH_ARMS:
            own = {key: run for key, run in runs.items() if key.startswith(f"growth/{arm}/{size}/")}
            counts = sorted({int(key.split("/")[3]) for key in own})
            if not counts:
                continue
            at = {
                count: [run for key, run in own.items() if key.startswith(f"growth/{arm}/{size}/{count}/")]
                for count in counts
            }
            figures = {count: {name: _over(at[count], name) for name in GROWTH_FIGURES} for count in counts}
            fitted = {
                name: exponent(counts, [figures[count][name]["median"] for count in counts]) for name in GROWTH_FIGURES
            }
            told.setdefault(size, {})[arm] = {
                "facts": {
                    str(count): {"negatives": at[count][0].get("negatives"), **figures[count]} for count in counts
                },
                "exponent": fitted,
            }
    return told
