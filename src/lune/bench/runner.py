"""Running the cells of a bench, one after the other, each into a run folder of its own.

A killed bench goes on where it was: a cell is there when its folder is, and folders appear by rename. A cell that was
made from something else (settings, options, data, model) is never taken for one that is wanted: the bench refuses to
begin and says what differs. A cell that fails does not stop the others.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from lune import teaching
from lune.bench import cells
from lune.bench.plan import BEFORE, REFERENCE, Plan
from lune.bench.targets import Target, Targets, Teacher, teach_by_lora
from lune.benchmarks import Measured
from lune.benchmarks.cell import Cell
from lune.benchmarks.task import Task
from lune.errors import ConfigError, LuneError, RunError
from lune.models import LoadedModel
from lune.outputs import RUN_RECORD, RunFolder, as_output_error
from lune.pipeline import RunOutcome, run_forget
from lune.preparation import PROBES_FORMAT
from lune.progress import Display
from lune.settings import ForgetSettings, TeachingRecipe

_MINUTE = 60
_ORDER = {BEFORE: 0, REFERENCE: 1}
"""Cells that the scores of others are relative to come first."""


@dataclass(frozen=True)
class Place:
    """A cell's place in the table, and its folder."""

    task: Task
    column: str
    seed: int
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether the cell is there."""
        return (self.folder / RUN_RECORD).is_file()

    def __str__(self) -> str:
        """Return the place in words."""
        return f"{self.task.name} · {self.column} · seed {self.seed}"


def run_bench(plan: Plan, *, console: Console | None, command: str, teacher: Teacher = teach_by_lora) -> None:
    """Run every cell of ``plan`` that is not there yet.

    Args:
        plan: What to do.
        console: Where progress goes; None for silence.
        command: What the user typed, for the records.
        teacher: How models are taught, for tasks of fictitious facts.

    Raises:
        ConfigError: When finished cells were made from something else; nothing was run then.
        RunError: When cells failed; all others were run.
        LuneError: When the model or the data cannot be loaded.
    """
    display = Display(console)
    first = next(iter(plan.settings.values()))
    own_facts = plan.benchmark.takes_own_facts and plan.source is not None
    alone = os.environ.get("WORLD_SIZE", "1") == "1"  # processes that found different answers would part
    targets = Targets(first.model, first.device, first.dtype, teacher, display, keep_answers=alone and not own_facts)
    with display.stage(f"reading {plan.benchmark.name}"):
        tasks = list(plan.benchmark.load(plan.source, plan.options, targets.base.answers))[: plan.limit]
    if not tasks:
        raise RunError(f"{plan.benchmark.name} gives no task for {targets.base.model.id}.", hint="use another model")
    bench = _Bench(plan, display, command, targets, [_places(plan, task) for task in tasks])
    bench.check_finished()
    bench.run()
    if bench.failures:
        raise RunError(
            f"{len(bench.failures)} of {bench.total} cells failed; the others are in {plan.out}.",
            hint="run the same command again: only the missing cells are run",
            problems=bench.failures,
        )


def _places(plan: Plan, task: Task) -> list[Place]:
    columns = [name for name in plan.settings if name != REFERENCE or task.teaching]
    if not columns:
        raise ConfigError(
            f"--methods {REFERENCE}: {plan.benchmark.name} teaches nothing, so no model was taught less.",
            hint=f"--methods {BEFORE},lune",
        )
    columns.sort(key=lambda name: _ORDER.get(name, len(_ORDER)))
    return [
        Place(task, column, seed, cells.cell_folder(plan.out, task.name, column, seed))
        for column in columns
        for seed in plan.seeds
    ]


@dataclass
class _Bench:
    """A bench at work.

    Attributes:
        plan: What to do.
        display: Where progress goes.
        command: What the user typed.
        targets: The models.
        rows: The cells of each task.
        failures: What went wrong.
        seconds: How long the cells of a column took, by column.
        measured: What the protocol measured on the present task, by column and seed.
    """

    plan: Plan
    display: Display
    command: str
    targets: Targets
    rows: list[list[Place]]
    failures: list[str] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    measured: dict[tuple[str, int], Measured] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many cells the table has."""
        return sum(map(len, self.rows))

    def check_finished(self) -> None:
        """Raise ConfigError when there are finished cells that were made from something else."""
        problems = []
        tasks = {row[0].task.name: row[0].task for row in self.rows}
        for folder in cells.cell_folders(self.plan.out):
            record = cells.read_json(folder / RUN_RECORD)
            place = self._place_of(folder, tasks)
            settings = self.settings(place).model_dump(mode="json") if place else {}
            # Cells of other tasks and columns may stand beside these where the table can hold them together.
            identity = self.identity(place) if place else self.shared_identity
            if found := cells.differences(record, identity, settings):
                problems.append(f"{folder}: {'; '.join(found)}")
        if problems:
            raise ConfigError(
                f"{len(problems)} finished cells in {self.plan.out} were made from something else.",
                problems=problems,
                hint="name another --out, or remove these folders",
            )

    def _place_of(self, folder: Path, tasks: Mapping[str, Task]) -> Place | None:
        """Return the place of a cell of this bench's tasks and columns, of any seed: tables take means over seeds."""
        task, column = tasks.get(folder.parent.parent.name), folder.parent.name
        if task is None or column not in self.plan.settings:
            return None
        return Place(task, column, int(folder.name.removeprefix("seed-")), folder)

    def run(self) -> None:
        """Run the open cells of all tasks, and score each task's."""
        finished = sum(place.finished for row in self.rows for place in row)
        if finished:
            self.display.line(f"{finished} of {self.total} cells are there already.")
        for number, row in enumerate(self.rows):
            opened = [place for place in row if not place.finished]
            try:
                if opened:
                    later = [p for each in self.rows[number + 1 :] for p in each if not p.finished]
                    self._run_task(opened, later)
            except KeyboardInterrupt:
                done = sum(place.finished for each in self.rows for place in each)
                self.display.line(
                    f"Interrupted: {done} of {self.total} cells are finished and stay in {self.plan.out}. The same "
                    f"command runs the other {self.total - done}."
                )
                raise
            finally:  # what is finished has its scores even where the bench ends here
                self._score(row[0].task)
            self.measured.clear()

    @property
    def shared_identity(self) -> dict[str, Any]:
        """What all cells of a bench are made from."""
        return {
            "benchmark": self.plan.benchmark.name,
            "options": dict(self.plan.options),
            "base_sha256": self.targets.base.model.sha256,
            "probes": PROBES_FORMAT,
        }

    def identity(self, place: Place) -> dict[str, Any]:
        """Return what a cell is made from besides its settings."""
        own = {"task": place.task.name, "column": place.column, "task_sha256": cells.task_hash(place.task)}
        # Cells beside each other are of one target: taught otherwise, it would be another.
        lessons: dict[str, Any] = {}
        if place.task.teaching:
            lessons = {"taught_by": TeachingRecipe().model_dump(), "taught_format": teaching.FORMAT}
        return {**self.shared_identity, **own, **lessons}

    def settings(self, place: Place) -> ForgetSettings:
        """Return the settings of a cell."""
        return self.plan.settings[place.column].model_copy(update={"seed": place.seed, "out": None})

    def _run_task(self, opened: Sequence[Place], later: Sequence[Place]) -> None:
        """Run the open cells of one task, teaching its models first where that is needed."""
        lessons = opened[0].task.teaching
        for number, place in enumerate(opened):
            try:
                target = self.targets.taught(lessons.everything) if lessons else self.targets.base
                instead = target if place.column == BEFORE else None
                if lessons and place.column == REFERENCE:
                    instead = self.targets.taught(lessons.retained)
            except Exception as error:
                self._failed(str(place), error)
                continue
            try:
                self._run_cell(place, target, instead, waiting=[*opened[number + 1 :], *later])
            except Exception as error:
                self._failed(str(place), error)
                self.targets.drop(target)  # the run may have left its adapter on the model

    def _run_cell(self, place: Place, target: Target, instead: Target | None, waiting: Sequence[Place]) -> None:
        def finish(model: LoadedModel, folder: Path) -> Mapping[str, Any]:
            start = time.perf_counter()
            with self.display.stage("asking what the benchmark's own scores need"):
                measured = self._measure(place, model)
            seconds = round(time.perf_counter() - start, 2)
            cells.write_protocol(folder, measured)
            taught = {"target": target.teaching, "reference": instead.teaching if instead else None}
            own = {"seed": place.seed, "teaching": taught, "protocol_seconds": seconds}
            # Where nothing was to be forgotten there is nothing to judge.
            judged: dict[str, Any] = {"verdict": None, "verdict_reasons": []} if instead else {}
            return {"bench": {**self.identity(place), **own}, **judged}

        began = time.perf_counter()
        head = f"[{self.total - len(waiting)} of {self.total}] {place}"
        settings = self.settings(place).model_copy(update={"model": target.model.id})
        with (
            self.display.stage(f"{head}{self._time_left([place, *waiting])}"),
            self.display.only_stages(),
            RunFolder(place.folder, default=place.folder) as folder,
        ):
            stands_in = instead.model if instead else None
            cell = Cell(place.task, target.model, target.answers, stands_in, finish, self.display)
            outcome = run_forget(
                place.task.facts, settings, folder=folder, console=None, command=self.command, cell=cell
            )
        seconds = time.perf_counter() - began
        self.seconds.setdefault(place.column, []).append(seconds)
        self.display.line(f"{head}: {_shown(place, outcome)}  {_clock(seconds)}")

    def _measure(self, place: Place, model: LoadedModel) -> Measured:
        """Return what the protocol measures; a model that no seed changes is measured once."""
        same = [seed for seed in self.plan.seeds if place.column in _ORDER and self._read(place, seed) is not None]
        found = self._read(place, same[0]) if same else None
        # Through JSON at once, so that a resumed bench scores the same values.
        measured = found or json.loads(json.dumps(self.plan.benchmark.measure(model, place.task)))
        self.measured[place.column, place.seed] = measured
        return measured

    def _read(self, place: Place, seed: int) -> Measured | None:
        """Return what the protocol measured in the cell of another seed of the column, None where it is not there."""
        key = (place.column, seed)
        folder = place.folder.with_name(f"seed-{seed}")
        if key not in self.measured and (folder / RUN_RECORD).is_file():
            self.measured[key] = cells.read_protocol(folder)
        return self.measured.get(key)

    def _score(self, task: Task) -> None:
        """Write the published scores into all finished cells of a task; those of one seed are scored together.

        Cells of an earlier bench count as well: a reference that comes later gives the others their distances to it.
        """
        by_seed: dict[str, dict[str, Path]] = {}
        for folder in cells.cell_folders(self.plan.out):
            if folder.parent.parent.name == task.name:
                by_seed.setdefault(folder.name, {})[folder.parent.name] = folder
        for seed, folders in by_seed.items():
            try:
                measured = {column: cells.read_protocol(folder) for column, folder in folders.items()}
                scores = self.plan.benchmark.protocol(task, measured)
                for column, folder in folders.items():
                    cells.write_scores(folder, scores[column])
            except Exception as error:
                self._failed(f"scores of {task.name}, {seed}", error)

    def _failed(self, what: str, error: Exception) -> None:
        known = error if isinstance(error, LuneError) else as_output_error(error)
        text = " ".join([known.message, *known.problems]) if known else f"{type(error).__name__}: {error}"
        self.failures.append(f"{what}: {text}")
        self.display.line(f"failed: {what}: {text}")

    def _time_left(self, waiting: Sequence[Place]) -> str:
        """Return in words how long the waiting cells will take, judged by those done; empty as long as none tells."""
        known = [each for column, own in self.seconds.items() if column not in _ORDER for each in own]
        if not known and any(place.column not in _ORDER for place in waiting):
            return ""  # a cell that trains nothing says nothing of one that does
        known = known or [each for own in self.seconds.values() for each in own]
        if not known:
            return ""
        mean = sum(known) / len(known)
        columns = (self.seconds.get(place.column, [mean]) for place in waiting)
        return f" · about {_clock(sum(sum(each) / len(each) for each in columns))} left"


def _shown(place: Place, outcome: RunOutcome) -> str:
    after = outcome.metrics["after"]
    named = {
        "USR": after["usr"],
        "APR": after["apr"],
        "neighbours": after["gur_neighbour"],
        "general": after["gur_general"],
    }
    scores = "  ".join(f"{name} {'n/a' if value is None else f'{value:.3f}'}" for name, value in named.items())
    scores += f"  {after['counts']['direct']} known facts"
    return scores if place.column in _ORDER else f"{outcome.verdict}  {scores}"


def _clock(seconds: float) -> str:
    return f"{round(seconds) // _MINUTE}m {round(seconds) % _MINUTE:02d}s"
