"""Running the cells of a bench, one after the other, each into a run folder of its own.

A killed bench goes on where it was: a cell is there when its folder is, and folders appear by rename. A cell that was
made from something else (settings, options, data, model) is never taken for one that is wanted: the bench refuses to
begin and says what differs. A cell that fails does not stop the others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from lune.bench.cells import (
    SCORES,
    cell_folder,
    differences,
    read_json,
    read_protocol,
    task_hash,
    write_protocol,
    write_scores,
)
from lune.bench.plan import BEFORE, REFERENCE, Plan
from lune.benchmarks import Measured
from lune.benchmarks.cell import Cell
from lune.benchmarks.task import TaughtText, Task
from lune.errors import ConfigError, LuneError, RunError
from lune.evaluation import RememberedAnswers
from lune.models import LoadedModel, load_model
from lune.outputs import RUN_RECORD, RunFolder, as_output_error
from lune.pipeline import RunOutcome, run_forget
from lune.progress import Display

MINUTE = 60


class TaughtModel(Protocol):
    """A model that was taught texts; its folder is all that is needed of it."""

    @property
    def folder(self) -> Path:
        """The model in transformers' layout."""
        ...


Teacher = Callable[[Sequence[TaughtText], LoadedModel, Display], TaughtModel]


@dataclass
class _Model:
    """A loaded model and what it has answered so far."""

    model: LoadedModel
    answers: RememberedAnswers


@dataclass(frozen=True)
class Place:
    """Where a cell stands in the table."""

    task: Task
    column: str
    seed: int

    def __str__(self) -> str:
        """Return it as it is shown."""
        return f"{self.task.name} · {self.column} · seed {self.seed}"


@dataclass
class _Bench:
    """A bench at work.

    Attributes:
        plan: What to do.
        display: Where progress goes.
        command: What the user typed.
        teacher: How models are taught.
        models: Loaded models by folder or id.
        tasks: The tasks.
        failures: What went wrong, by the cell's name.
        seconds: How long the cells of a column took.
        measured: What the protocol measured, by task name, column and seed.
    """

    plan: Plan
    display: Display
    command: str
    teacher: Teacher
    models: dict[str, _Model] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    measured: dict[tuple[str, str, int], Measured] = field(default_factory=dict)

    # What is to be done.

    def places(self, task: Task) -> list[Place]:
        """Return the cells of a task: first those that the scores of others are relative to."""
        columns = [name for name in self.plan.settings if name != REFERENCE or task.teaching]
        columns.sort(key=lambda name: {BEFORE: 0, REFERENCE: 1}.get(name, 2))
        return [Place(task, column, seed) for column in columns for seed in self.plan.seeds]

    def folder(self, place: Place) -> Path:
        return cell_folder(self.plan.out, place.task.name, place.column, place.seed)

    def finished(self, place: Place) -> bool:
        return (self.folder(place) / RUN_RECORD).is_file()

    def identity(self, place: Place) -> dict[str, Any]:
        """Return what a cell is made from, besides its settings."""
        return {
            "benchmark": self.plan.benchmark.name,
            "task": place.task.name,
            "column": place.column,
            "options": dict(self.plan.options),
            "task_sha256": task_hash(place.task),
            "base_sha256": self.base.model.sha256,
        }

    def settings(self, place: Place) -> Any:
        return self.plan.settings[place.column].model_copy(update={"seed": place.seed, "out": None})

    @property
    def base(self) -> _Model:
        return self.models[self.plan.model]

    def check_finished(self) -> None:
        """Raise ConfigError when the folder holds cells that were made from something else."""
        problems = []
        for place in (place for task in self.tasks for place in self.places(task) if self.finished(place)):
            record = read_json(self.folder(place) / RUN_RECORD)
            wanted = self.settings(place).model_dump(mode="json")
            if found := differences(record, self.identity(place), wanted):
                problems.append(f"{self.folder(place)}: {'; '.join(found)}")
        if problems:
            raise ConfigError(
                f"{self.plan.out} holds {len(problems)} finished cells that were made from something else.",
                problems=problems,
                hint="name another --out, or remove these folders",
            )

    # Models.

    def load(self, name: str) -> _Model:
        if name not in self.models:
            settings = next(iter(self.plan.settings.values()))
            with self.display.stage(f"loading {name}"):
                model = load_model(name, device=settings.device, dtype=settings.dtype)
            self.models[name] = _Model(model, RememberedAnswers(model))
        return self.models[name]

    def taught(self, texts: Sequence[TaughtText]) -> tuple[_Model, dict[str, Any]]:
        """Return the base model taught ``texts``, and what is to be recorded of the teaching."""
        taught: Any = self.teacher(texts, self.base.model, self.display)
        record = {name: value for name, value in asdict(taught).items() if name not in ("cached", "folder")}
        return self.load(str(taught.folder)), record

    def drop_others(self, kept: Sequence[_Model]) -> None:
        """Let go of the models of earlier tasks, so that two taught models are held at most."""
        self.models = {name: each for name, each in self.models.items() if each in (self.base, *kept)}

    # Cells.

    def run_task(self, task: Task, done: int, total: int) -> None:
        """Run the open cells of a task and score all that are there."""
        open_places = [place for place in self.places(task) if not self.finished(place)]
        for place in open_places:
            done += 1
            left = self.time_left([each for each in open_places if not self.finished(each)], total - done)
            head = f"[{done} of {total}] {place}"
            with self.display.stage(f"{head}{left}".replace("[", r"\[")):
                began = time.perf_counter()
                outcome = self.guarded(place, lambda place=place: self.run_cell(place))  # type: ignore[misc]
                seconds = time.perf_counter() - began
            if outcome:
                self.seconds.setdefault(place.column, []).append(seconds)
                self.display.line(f"{head}: {_scores(outcome)}  {_clock(seconds)}".replace("[", r"\["))
        if open_places or any(not (self.folder(place) / SCORES).is_file() for place in self.places(task)):
            self.guarded_scores(task)
        self.measured.clear()

    def time_left(self, open_places: Sequence[Place], others: int) -> str:
        """Return in words how long the open cells will take, judged by those that were run."""
        known = [each for column in self.seconds.values() for each in column]
        if not known:
            return ""
        mean = sum(known) / len(known)
        columns = [self.seconds.get(place.column, [mean]) for place in open_places]
        seconds = sum(sum(times) / len(times) for times in columns) + mean * max(0, others + 1 - len(open_places))
        return f" · about {_clock(seconds)} left"
