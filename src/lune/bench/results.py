"""What the run folders of a bench say: scores of each cell, and their mean and standard deviation over seeds."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lune.bench.cells import SCORES, cell_folders, read_json
from lune.bench.plan import BEFORE, DEFAULT_COLUMNS, REFERENCE
from lune.errors import OutputError
from lune.listing import TABLE_NAMES
from lune.metrics.gaps import auc_distance, privacy_leak
from lune.outputs import RUN_RECORD

ALL_TASKS = "all tasks"
PROBE_COUNTS = ("paraphrase", "adversarial", "neighbour", "general")
"""Probes that the shares are counted over, by kind, as a run's record has them; a direct one is there for each fact."""
_TRAINED_LAST = {name: place for place, name in enumerate((BEFORE, "lune-paper", "lune"))}

Values = dict[str, float | None]
Counts = dict[str, int]


@dataclass(frozen=True)
class Scored:
    """One cell's scores.

    Attributes:
        benchmark: The benchmark.
        task: The task.
        column: The column.
        seed: The seed.
        made_from: The benchmark's options and the base model's hash: cells that differ in them are never averaged.
        scores: USR, APR, GUR, MIA and the others, by name.
        protocol: The benchmark's own scores.
        verdict: The verdict; empty where nothing was unlearned.
        counts: ``facts``, ``known_facts`` and the probes of each kind that the scores rest on; what a record lacks is
            not there.
    """

    benchmark: str
    task: str
    column: str
    seed: int
    made_from: str
    scores: Values
    protocol: Values
    verdict: str
    counts: Counts


@dataclass(frozen=True)
class Spread:
    """A score over seeds.

    Attributes:
        mean: The mean.
        deviation: The sample standard deviation; None for a single seed.
        values: The score of each seed that has one, in the order of the seeds.
    """

    mean: float
    deviation: float | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """A column of one task over its seeds, or of all tasks together: then a seed's score is the mean over the tasks.

    Attributes:
        benchmark: The benchmark.
        task: The task, or ``ALL_TASKS``.
        column: The column.
        seeds: The seeds that are there.
        scores: USR, APR, GUR, MIA and the others, by name.
        protocol: The benchmark's own scores.
        verdicts: How often each verdict came.
        cells: How many cells the row is made from.
        counts: ``facts``, ``known_facts`` and the probes of each kind that the scores rest on, each for every seed, of
            several tasks the sum.
    """

    benchmark: str
    task: str
    column: str
    seeds: tuple[int, ...]
    scores: dict[str, Spread]
    protocol: dict[str, Spread]
    verdicts: dict[str, int]
    cells: int
    counts: dict[str, tuple[int, ...]]


def read_cells(folders: Sequence[Path]) -> list[Scored]:
    """Return the finished cells of bench folders.

    Raises:
        OutputError: When a folder holds no cell, a cell cannot be read, or two folders hold the same cell.
    """
    found: dict[tuple[str, str, str, int], tuple[Scored, Path]] = {}
    for out in folders:
        paths = cell_folders(out)
        if not paths:
            raise OutputError(f"{out} holds no finished cell of a bench.", hint="lune bench NAME --out DIR makes them")
        for path in paths:
            cell = read_cell(path)
            key = (cell.benchmark, cell.task, cell.column, cell.seed)
            if key in found:
                raise OutputError(f"{path} and {found[key][1]} are the same cell.", hint="give one of the two folders")
            found[key] = (cell, path)
    cells = [cell for cell, _ in found.values()]
    for benchmark in {cell.benchmark for cell in cells}:
        if len({cell.made_from for cell in cells if cell.benchmark == benchmark}) > 1:
            raise OutputError(
                f"The cells of {benchmark} are of different base models or options.", hint="make a table for each"
            )
    return cells


def read_cell(folder: Path) -> Scored:
    """Return what a cell's folder says.

    Raises:
        OutputError: When its record is not that of a bench's cell.
    """
    record = read_json(folder / RUN_RECORD)
    protocol = read_json(folder / SCORES) if (folder / SCORES).is_file() else {}
    try:
        bench, after = record["bench"], record["metrics"]["after"]
        scores: Values = {name: after.get(name) for name in TABLE_NAMES}
        scores |= {f"mia_{attack}": values["auc"] for attack, values in after["mia"].items()}
        unlearned = bench["column"] not in (BEFORE, REFERENCE)
        return Scored(
            bench["benchmark"],
            bench["task"],
            bench["column"],
            int(bench["seed"]),
            json.dumps([bench["base_sha256"], bench["options"]], sort_keys=True),
            scores,
            dict(protocol),
            record["verdict"] if unlearned else "",
            _counts(record.get("facts") or {}, after.get("counts") or {}),
        )
    except (KeyError, TypeError, AttributeError) as error:
        hint = "give folders that `lune bench` made"
        raise OutputError(f"{folder / RUN_RECORD} is not the record of a bench's cell: {error}.", hint=hint) from error


def _counts(facts: Mapping[str, Any], probes: Mapping[str, int]) -> Counts:
    named = {"facts": facts.get("total"), "known_facts": facts.get("known")}
    named |= {kind: probes.get(kind) for kind in PROBE_COUNTS}
    return {name: int(count) for name, count in named.items() if count is not None}


def rows(cells: Iterable[Scored]) -> list[Row]:
    """Return the rows of the table: for each benchmark the mean over its tasks, where there are several, then each."""
    known = list(cells)
    references = {(c.benchmark, c.task, c.seed): c.scores for c in known if c.column == REFERENCE}
    full = [(cell, _with_gaps(cell, references.get((cell.benchmark, cell.task, cell.seed)))) for cell in known]
    result = []
    for benchmark in sorted({cell.benchmark for cell in known}):
        own = [(cell, scores) for cell, scores in full if cell.benchmark == benchmark]
        tasks = sorted({cell.task for cell, _ in own})
        groups = [(ALL_TASKS, own)] if len(tasks) > 1 else []
        groups += [(task, [pair for pair in own if pair[0].task == task]) for task in tasks]
        for name, pairs in groups:
            for column in sorted({cell.column for cell, _ in pairs}, key=_column_order):
                result.append(_row(benchmark, name, column, [pair for pair in pairs if pair[0].column == column]))
    return result


def _column_order(column: str) -> tuple[int, str]:
    """Return where a column stands: before, the recipes, rivals by name, the reference last."""
    if column == REFERENCE:
        return len(DEFAULT_COLUMNS) + 1, column
    return _TRAINED_LAST.get(column, len(DEFAULT_COLUMNS)), column


def _with_gaps(cell: Scored, reference: Mapping[str, float | None] | None) -> Values:
    """Return the scores and, where there is a retrain reference, each MIA AUC's distance from its, and PrivLeak."""
    scores = dict(cell.scores)
    for name, value in cell.scores.items():
        other = (reference or {}).get(name)
        if name.startswith("mia_") and value is not None and other is not None and cell.column != REFERENCE:
            scores[f"{name}_from_reference"] = auc_distance(value, other)
            scores[f"{name}_privleak"] = privacy_leak(value, other)
    return scores


def _row(benchmark: str, task: str, column: str, pairs: Sequence[tuple[Scored, Values]]) -> Row:
    seeds = sorted({cell.seed for cell, _ in pairs})
    verdicts = Counter(cell.verdict for cell, _ in pairs if cell.verdict)
    return Row(
        benchmark,
        task,
        column,
        tuple(seeds),
        _spreads(seeds, [(cell.seed, scores) for cell, scores in pairs]),
        _spreads(seeds, [(cell.seed, cell.protocol) for cell, _ in pairs]),
        dict(sorted(verdicts.items())),
        len(pairs),
        {
            name: tuple(sum(cell.counts.get(name, 0) for cell, _ in pairs if cell.seed == seed) for seed in seeds)
            for name in dict.fromkeys(name for cell, _ in pairs for name in cell.counts)
        },
    )


def _spreads(seeds: Sequence[int], scored: Sequence[tuple[int, Values]]) -> dict[str, Spread]:
    """Return each score's spread over seeds; of several tasks with one seed the mean is taken first."""
    result = {}
    for name in dict.fromkeys(name for _, scores in scored for name in scores):
        by_seed = [[scores.get(name) for own, scores in scored if own == seed] for seed in seeds]
        values = [
            statistics.fmean(kept) for each in by_seed if (kept := [value for value in each if value is not None])
        ]
        if values:
            deviation = statistics.stdev(values) if len(values) > 1 else None
            result[name] = Spread(statistics.fmean(values), deviation, tuple(values))
    return result


def as_json(table: Sequence[Row]) -> dict[str, Any]:
    """Return the rows as they are stored."""
    return {"schema_version": 1, "rows": list(table)}
