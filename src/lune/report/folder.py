"""Reading a run folder: its record and row files, and no model.

Values are read as ``object`` and narrowed by the small accessors below, so that a part that is
missing or of another shape leaves its block out of the report instead of stopping it. A line that
is not JSON is something else: evidence would silently be lost, so it is an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from lune.errors import OutputError

Row: TypeAlias = Mapping[str, object]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class StoredRun:
    """What a run left behind.

    Attributes:
        run: The run record, ``run.json``.
        probes: Test probes with the answers before and after.
        negatives: Negative examples that were trained on.
        rejected: Alternates that were proposed and not used.
        history: One row a training step or evaluation.
        attacks: What ``lune attack`` found, ``attacks.json``; empty without it.
    """

    run: Row
    probes: tuple[Row, ...] = ()
    negatives: tuple[Row, ...] = ()
    rejected: tuple[Row, ...] = ()
    history: tuple[Row, ...] = ()
    attacks: Row = field(default_factory=dict)


def read_run_folder(folder: Path) -> StoredRun:
    """Read the record and the row files of ``folder``; row files that are not there are empty.

    Raises:
        OutputError: When there is no usable ``run.json``, its schema is newer than this version
            knows, or lines of a row file are not JSON objects (all of them are named).
    """
    run = _read_record(folder)
    problems: list[str] = []
    names = ("probes", "negatives", "rejected", "history")
    rows = {name: _read_rows(folder / f"{name}.jsonl", problems) for name in names}
    attacks = _read_attacks(folder / "attacks.json", problems)
    if problems:
        raise OutputError(
            f"{folder} has lines that are not JSON objects: {problems[0]}"
            + (f" and {len(problems) - 1} more" if len(problems) > 1 else ""),
            hint="lune forget REQUEST --out NEW_FOLDER makes the folder anew",
            problems=problems,
        )
    return StoredRun(run=run, attacks=attacks, **rows)


def _read_record(folder: Path) -> Row:
    path = folder / "run.json"
    try:
        record: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(
            f"{folder} is not a run folder: it has no run.json.", hint="give the folder that `lune forget` printed"
        ) from None
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be read: {error}", hint="run `lune forget` again") from error
    if not isinstance(record, dict):
        raise OutputError(f"{path} holds {type(record).__name__}, not a JSON object.", hint="run `lune forget` again")
    version = number(record.get("schema_version"))
    if version is not None and version > SCHEMA_VERSION:
        raise OutputError(
            f"{path} has schema_version {version:g}; this version of LUNE reads up to {SCHEMA_VERSION}.",
            hint="pip install --upgrade lune-unlearn",
        )
    return record


def _read_attacks(path: Path, problems: list[str]) -> Row:
    """Return the record of the attacks, empty without one, adding a line to ``problems`` when it cannot be read."""
    try:
        record: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{path.name}: {error}")
        return {}
    return mapping(record)


def _read_rows(path: Path, problems: list[str]) -> tuple[Row, ...]:
    """Return the JSON objects of ``path``, adding a line to ``problems`` for each that is none."""
    try:
        # Split on newlines alone: str.splitlines would also cut at the U+2028 an answer may hold.
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        problems.append(f"{path.name}: {error}")
        return ()
    rows: list[Row] = []
    for line_number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value: object = json.loads(line)
        except ValueError as error:
            problems.append(f"{path.name} line {line_number}: {error}")
            continue
        if isinstance(value, dict):
            rows.append(value)
        else:
            problems.append(f"{path.name} line {line_number}: {type(value).__name__} instead of an object")
    return tuple(rows)


def mapping(value: object) -> Row:
    """Return ``value`` when it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """Return ``value`` when it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def number(value: object) -> float | None:
    """Return ``value`` as a float when it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def text(value: object) -> str:
    """Return ``value`` as text; nothing for None."""
    return "" if value is None else str(value)
