"""What a run shows in the terminal while it works."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.status import Status
from rich.table import Column
from rich.text import Text

from lune.counting import listening

WIDE_ENOUGH = 76
"""Columns of a terminal in which the scores fit beside step, loss and time; below this they are left out first."""
BEAT = 20.0
"""Seconds without a line after which plain output, such as a log, is told how far the stage is."""


class Display:
    """Prints stages and the training line; silent without a console.

    In a terminal a spinner or a bar shows how far a stage is. Elsewhere a stage is a plain line, and so is how far it
    has come, every ``BEAT`` seconds: no carriage returns, no escape codes.
    """

    def __init__(self, console: Console | None) -> None:
        """Print to ``console``, or nowhere when it is None."""
        self.console = console or Console(quiet=True)
        self._stages: list[str] = []
        self._status: Status | None = None
        self._terse = False
        self._said = time.perf_counter()

    def line(self, text: str | Text, *, style: str = "") -> None:
        """Print one line as it stands: a path or a name may hold what rich would take for markup."""
        if not self._terse:
            self._print(text, style)

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Show a spinner with ``what`` while a stage works; where nobody watches, print it once.

        A stage within another stands behind it, or indented below it.
        """
        if not self.console.is_terminal:
            self._print(f"{'  ' * len(self._stages)}{what} ...", "dim")
        self._stages.append(what)
        opened = self._status is None and self.console.is_terminal
        try:
            with ExitStack() as stack:
                if opened:
                    self._status = stack.enter_context(self.console.status(""))
                self._show()
                stack.enter_context(listening(lambda done, total: self.beat(f"{done} of {total} texts")))
                yield
        finally:
            self._stages.pop()
            self._status = None if opened else self._status
            self._show()

    @contextmanager
    def only_stages(self) -> Iterator[None]:
        """Leave out all lines but stages and how far they are, while the context lasts."""
        self._terse = True
        try:
            yield
        finally:
            self._terse = False

    def beat(self, far: str) -> None:
        """Tell how far the present stage is: beside the spinner at once, else on a line of its own now and then."""
        self._show(far)
        if not self.console.is_terminal and time.perf_counter() - self._said >= BEAT:
            lead = "  " * len(self._stages[:-1])
            self._print(f"{lead}{': '.join([*self._stages[-1:], far])}", "dim")

    def _show(self, far: str = "") -> None:
        if self._status is not None:
            self._status.update(Text(f"{' · '.join([*self._stages, *([far] if far else [])])} ..."))

    def _print(self, text: str | Text, style: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True, markup=False, style=style)
        self._said = time.perf_counter()

    @contextmanager
    def training(self, steps: int, what: str) -> Iterator[TrainingLine]:
        """Show the training line for at most ``steps`` steps; within a stage, what it says beside that."""
        if self._status is not None or not self.console.is_terminal:
            with self.stage(what), Progress(console=self.console, disable=True) as progress:
                yield TrainingLine(self, progress, steps, what)
            return
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
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield TrainingLine(self, progress, steps, what)


class TrainingLine:
    """The live line of a training run, and one plain line an evaluation that stays."""

    def __init__(self, display: Display, progress: Progress, steps: int, what: str) -> None:
        """Begin the line."""
        self._display = display
        self._progress = progress
        self._task = progress.add_task(what, total=steps, loss="", scores="")
        self._steps = steps
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
            loss = f"loss {float(row['loss']):.2f}"
            self._progress.update(self._task, completed=int(row["step"]), loss=loss)
            far = f"pass {row['pass']}, step {row['step']} of at most {self._steps}, {loss}"
            self._display.beat(f"{far}  {self._scores}".rstrip())


def shown_scores(row: Mapping[str, float | int | str]) -> str:
    """Return the scores of an evaluation, or of a pass of teaching, in one short line."""
    if "probability" in row:
        return f"probability of the texts {float(row['probability']):.2f}"
    named = {"dev USR": "dev_usr", "APR": "dev_apr", "neighbours": "dev_gur_neighbour", "general": "dev_gur_general"}
    return "  ".join(f"{name} {float(row[key]):.2f}" if key in row else f"{name} n/a" for name, key in named.items())
