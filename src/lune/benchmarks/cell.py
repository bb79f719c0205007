"""What one cell of a benchmark's table adds to a run: the task, models that are loaded already, the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lune.benchmarks.task import Task

if TYPE_CHECKING:
    from lune.evaluation import RememberedAnswers
    from lune.models import LoadedModel
    from lune.progress import Display


@dataclass(frozen=True)
class Cell:
    """One cell: a task, done in one way with one seed.

    Attributes:
        task: What to forget, and its own probes.
        model: The target model, without an adapter; it is left so, unless the run fails.
        answers: The same model with what it has answered so far, shared by the cells of one target.
        instead: The model that stands for the unlearned one where nothing is trained: the target itself, or one that
            was never taught. None where an adapter is to be trained.
        finish: Called with the unlearned model and the staged run folder before the record is written; what it
            returns goes into the record.
        display: Where the run's progress goes.
    """

    task: Task
    model: LoadedModel
    answers: RememberedAnswers
    instead: LoadedModel | None
    finish: Callable[[LoadedModel, Path], Mapping[str, Any]]
    display: Display
