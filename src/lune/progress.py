"""What a run shows in the terminal while it works."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.table import Column
from rich.text import Text

WIDE_ENOUGH = 76
"""Columns of a terminal in which the scores fit beside step, loss and time; below this they are left out first."""


class Display:
    """Prints stages and the training line; silent without a console."""

    def __init__(self, console: Console | None) -> None:
        """Print to ``console``, or nowhere when it is None."""
        self.console = console or Console(quiet=True)

    def line(self, text: str | Text, *, style: str = "") -> None:
        """Print one line as it stands: a path or a name may hold what rich would take for markup."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False, style=style)

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Show a spinner with ``what`` while a stage works; where nobody watches, print it once."""
        if not self.console.is_terminal:
            self.line(f"{what} ...", style="dim")
            yield
            return
        with self.console.status(Text(f"{what} ...")):
            yield

    @contextmanager
    def training(self, steps: int, what: str) -> Iterator[TrainingLine]:
        """Show the training line for at most ``steps`` steps."""
        wide = self.console.width >= WIDE_ENOUGH
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            *([BarColumn(bar_width=16)] if wide else []),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
            *([TextColumn("[dim]left"), TimeLeftColumn()] if wide else []),
            *([TextColumn("{task.fields[scores]}", table_column=Column(no_wrap=True, ratio=1))] if wide else []),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            yield TrainingLine(self, progress, steps, what)


class TrainingLine:
    """The live line of a training run, and one plain line an evaluation that stays."""

    def __init__(self, display: Display, progress: Progress, steps: int, what: str) -> None:
        """Begin the line."""
        self._display = display
        self._progress = progress
        self._task = progress.add_task(what, total=steps, loss="", scores="")
        self._scores = ""
        self._began = time.perf_counter()

    def update(self, row: Mapping[str, float | int | str]) -> None:
        """Show a history row: a step's loss, or what an evaluation or a pass gave."""
        if "loss" not in row:
            self._scores = shown_scores(row)
            took = time.perf_counter() - self._began
            self._display.line(f"pass {row['pass']}, step {row['step']}: {self._scores}  {took:.0f} s", style="dim")
            self._progress.update(self._task, scores=self._scores)
        else:
            self._progress.update(self._task, completed=int(row["step"]), loss=f"loss {float(row['loss']):.2f}")


def shown_scores(row: Mapping[str, float | int | str]) -> str:
    """Return the scores of an evaluation, or of a pass of teaching, in one short line."""
    if "probability" in row:
        return f"probability of the texts {float(row['probability']):.2f}"
    named = {"dev USR": "dev_usr", "APR": "dev_apr", "neighbours": "dev_gur_neighbour", "general": "dev_gur_general"}
    return "  ".join(f"{name} {float(row[key]):.2f}" if key in row else f"{name} n/a" for name, key in named.items())
