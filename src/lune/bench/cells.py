"""A cell's run folder: where it is, what it was made from, what the benchmark's protocol measured and gave."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lune.benchmarks import Measured
from lune.benchmarks.task import Task
from lune.errors import OutputError
from lune.outputs import RUN_RECORD, refusals_named, write_json

PROTOCOL, SCORES = "protocol.json", "scores.json"
_PACKED_FROM = 1_000_000
"""Characters of JSON from which a protocol's samples are stored with gzip."""
_SEED_FOLDER = re.compile(r"seed-(\d+)")
_PLACE_ONLY = ("out", "model", "prefix_cache_mb")
"""Settings that say where, not what: the model is told by its weights, and memory changes nothing that is measured."""
ProtocolScores = Mapping[str, float | None]


def cell_folder(out: Path, task: str, column: str, seed: int) -> Path:
    """Return the run folder of a cell."""
    return out / task / column / f"seed-{seed}"


def cell_folders(out: Path) -> list[Path]:
    """Return the finished cells of a bench, in the order of their names, seeds as numbers."""
    found = [path.parent for path in out.glob(f"*/*/seed-*/{RUN_RECORD}") if _SEED_FOLDER.fullmatch(path.parent.name)]
    return sorted(found, key=lambda path: (path.parts[:-1], int(path.name.removeprefix("seed-"))))


def read_json(path: Path) -> Any:
    """Return what a JSON file of a cell holds.

    Raises:
        OutputError: When it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path} cannot be read: {error}.", hint=f"rm -r {path.parent} and run the bench again"
        ) from error


def task_hash(task: Task) -> str:
    """Return a SHA-256 over everything a task holds, so that other data is noticed."""
    return hashlib.sha256(json.dumps(asdict(task), sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: object) -> object:
    """Return a value that JSON has no form for; sets sorted, for their own order changes with the process."""
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def unusable(out: Path, benchmark: str, options: Mapping[str, Any] | None) -> list[str]:
    """Return why a folder cannot be that of a bench, as far as it shows without the model; empty when it can.

    Args:
        out: The folder, which need not exist.
        benchmark: The benchmark's name.
        options: Its options; None where they are not known.

    Raises:
        OutputError: When a cell's record cannot be read.
    """
    if out.exists() and not out.is_dir():
        return [f"--out {out} is a file; the folder of a bench is wanted"]
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return [f"--out {out}: {there} is not writable"]
    if foreign := foreign_files(out):
        return [f"--out {out} is no bench folder: it holds {', '.join(foreign[:3])}"]
    wanted = {"benchmark": benchmark, **({} if options is None else {"options": dict(options)})}
    found = [(folder, differences(read_json(folder / RUN_RECORD), wanted, {})) for folder in cell_folders(out)]
    return [f"--out: {folder} was made from something else: {'; '.join(each)}" for folder, each in found if each]


def foreign_files(out: Path) -> list[str]:
    """Return what a folder holds where it holds no cell of a bench; empty for a folder of a bench."""
    if not out.is_dir() or cell_folders(out):
        return []
    return sorted(path.name for path in out.iterdir() if not path.name.startswith("."))


def differences(record: Mapping[str, Any], wanted: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Return in words how a finished cell differs from what is wanted now; empty when it may stand for it.

    Args:
        record: The cell's run.json.
        wanted: What its ``bench`` should hold.
        settings: The settings it should have been made with.
    """
    pairs = [("", record.get("bench") or {}, wanted)]
    kept = {name: value for name, value in settings.items() if name not in _PLACE_ONLY}
    pairs.append(("--", record.get("settings") or {}, kept))
    return [
        f"{lead}{name.replace('_', '-') if lead else name}: {there.get(name)} there, {value} now"
        for lead, there, now in pairs
        for name, value in now.items()
        if there.get(name) != value
    ]


def write_protocol(folder: Path, measured: Measured) -> None:
    """Store what a protocol measured, sample by sample; packed where it is large.

    Raises:
        OutputError: When it cannot be written.
    """
    text = json.dumps(measured, ensure_ascii=False)
    if len(text) < _PACKED_FROM:
        write_json(folder / PROTOCOL, measured)
        return
    path = folder / f"{PROTOCOL}.gz"
    with refusals_named(path):
        path.write_bytes(gzip.compress(text.encode(), mtime=0))


def read_protocol(folder: Path) -> Measured:
    """Return what `write_protocol` stored.

    Raises:
        OutputError: When it is not there or cannot be read.
    """
    packed = folder / f"{PROTOCOL}.gz"
    if not packed.is_file():
        return dict(read_json(folder / PROTOCOL))
    try:
        return dict(json.loads(gzip.decompress(packed.read_bytes())))
    except (OSError, EOFError, ValueError) as error:
        raise OutputError(
            f"{packed} cannot be read: {error}.", hint=f"rm -r {folder} and run the bench again"
        ) from error


def write_scores(folder: Path, scores: ProtocolScores) -> None:
    """Store a cell's published scores, unless the same are there already.

    Raises:
        OutputError: When they cannot be written.
    """
    path = folder / SCORES
    if not path.is_file() or read_json(path) != dict(scores):
        write_json(path, scores)
