"""Cells of a bench beside each other, each column and seed in a process of its own with its share of the cores.

A small model gains little from a second core, and two processes use both. The first column runs alone: it teaches the
models and asks the base model what the others would ask again. Cells are taken up by the bench that follows, which
scores them and makes the table. No torch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lune.bench.plan import BEFORE, REFERENCE
from lune.errors import RunError

COMMAND = (sys.executable, "-m", "lune")
TOLD = ("[", "failed:", "pass ")
"""Beginnings of the lines of a process that are shown: what it works on, what came of it, what failed."""
INTERRUPTED = 130


@dataclass(frozen=True)
class Unit:
    """What one process runs: a column with a seed, of every task."""

    column: str
    seed: int

    def __str__(self) -> str:
        """Return the unit in words."""
        return f"{self.column} · seed {self.seed}"

    @property
    def words(self) -> list[str]:
        """The flags that name it."""
        return ["--methods", self.column, "--seeds", str(self.seed)]


def units(columns: Sequence[str], seeds: Sequence[int]) -> list[Unit]:
    """Return the units in the order in which they are begun: ``before``, then seed by seed the methods.

    The reference model is taught in the first seed's cell, which comes after the first methods; the cells of other
    seeds find it there and come last.
    """
    methods = [column for column in columns if column not in (BEFORE, REFERENCE)]
    begun = [Unit(BEFORE, seed) for seed in seeds if BEFORE in columns]
    for seed in seeds:
        begun += [Unit(column, seed) for column in methods]
        begun += [Unit(REFERENCE, seed)] if REFERENCE in columns and seed == seeds[0] else []
    return [*begun, *(Unit(REFERENCE, seed) for seed in seeds[1:] if REFERENCE in columns)]


def run_side_by_side(
    words: Sequence[str], columns: Sequence[str], seeds: Sequence[int], *, jobs: int, say: Callable[[str], None]
) -> None:
    """Run every column and seed of a bench, ``jobs`` at a time.

    Args:
        words: The bench as it is typed behind ``lune``, without its columns, seeds and jobs.
        columns: Its columns.
        seeds: Its seeds.
        jobs: Processes at a time.
        say: Called with each line to show.

    Raises:
        RunError: When processes failed; all others were run.
        KeyboardInterrupt: When it was interrupted; finished cells stay.
    """
    cores = int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1
    first, *rest = units(columns, seeds)
    running: list[subprocess.Popen[str]] = []
    ended = threading.Event()

    def run(unit: Unit, threads: int) -> str:
        return "" if ended.is_set() else _run(unit, [*words, *unit.words], threads, say, running)

    problems: list[str] = []
    try:
        # In rounds, so that those of a last round that is not full have more cores.
        for some in [[first], *(rest[start : start + jobs] for start in range(0, len(rest), jobs))]:
            with ThreadPoolExecutor(len(some)) as pool:
                try:
                    problems += pool.map(run, some, [max(1, cores // len(some))] * len(some))
                except BaseException:
                    ended.set()
                    raise
    finally:
        ended.set()
        for process in running:
            if process.poll() is None:
                process.terminate()
    if found := [problem for problem in problems if problem]:
        raise RunError(
            f"{len(found)} of {len(rest) + 1} columns and seeds failed; the cells of the others are there.",
            hint="run the same command again: only the missing cells are run",
            problems=found,
        )


def _run(
    unit: Unit, words: Sequence[str], threads: int, say: Callable[[str], None], running: list[subprocess.Popen[str]]
) -> str:
    """Run one unit and return what went wrong, an empty text where nothing did."""
    lines = []
    with subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    ) as process:
        running.append(process)
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if line.startswith(TOLD):
                say(f"{unit} | {line.rstrip()}")
    if (status := process.returncode) == INTERRUPTED:
        raise KeyboardInterrupt
    errors = [line for line in lines if line.startswith(("error[", "  - "))] or lines[-1:]
    return f"{unit}: {' '.join(map(str.strip, errors))} (exit status {status})" if status else ""
