"""Scores by EleutherAI's lm-evaluation-harness, for tasks this package has no file of its own for (extra ``eval``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lune.errors import ConfigError, RunError

if TYPE_CHECKING:
    from lune.models import LoadedModel

INSTALL = "pip install 'lune-unlearn[eval]'"
_PACKAGE = "lm_eval"
_BATCH = 16
_TASK_LINE = re.compile(r"^task:\s*['\"]?([^\s'\"]+)", re.MULTILINE)


def check_harness(tasks: Sequence[str]) -> None:
    """Raise ConfigError when the harness is not installed or a task file is not there; nothing is imported."""
    if find_spec(_PACKAGE) is None:
        raise ConfigError("--lm-eval needs EleutherAI's lm-evaluation-harness, which is not installed.", hint=INSTALL)
    missing = [task for task in tasks if _is_file_name(task) and not Path(task).is_file()]
    if missing or not tasks:
        what = f"no task file {', '.join(missing)}" if missing else "no task"
        raise ConfigError(f"--lm-eval: there is {what}.", hint="--lm-eval piqa,mmlu or --lm-eval my_task.yaml")


def harness_scores(
    model: LoadedModel, tasks: Sequence[str], *, limit: int | None = None, chat: bool = False, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Return the harness's numbers of each task, such as ``{"piqa": {"acc,none": 0.6, ...}}``.

    Args:
        model: The model as it is loaded, with or without an adapter on it.
        tasks: Names that the harness knows, or .yaml files of tasks in its format.
        limit: Most questions of each task.
        chat: Whether to ask through the model's chat template.
        seed: Seed of the few-shot examples and of the harness's own randomness.

    Raises:
        ConfigError: When the harness is not installed, or it knows no task of a name.
        RunError: When the harness gives no result.
    """
    check_harness(tasks)
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    folders = sorted({str(Path(task).resolve().parent) for task in tasks if _is_file_name(task)})
    manager = TaskManager(include_path=[*folders] or None)
    names = [_name(task) for task in tasks]
    unknown = [name for name in names if not manager.match_tasks([name])]
    if unknown:
        raise ConfigError(
            f"The harness knows no task {', '.join(unknown)}.", hint="lm-eval ls tasks, or name a .yaml file of one"
        )
    wrapped = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=_BATCH)
    result = simple_evaluate(
        model=wrapped,
        tasks=[*names],
        task_manager=manager,
        limit=limit,
        apply_chat_template=chat,
        log_samples=False,
        bootstrap_iters=0,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    if result is None:
        raise RunError("The harness gave no result.", hint="try the same tasks with `lm-eval run`")
    return {task: _numbers(values) for task, values in result["results"].items()}


def _is_file_name(task: str) -> bool:
    return task.endswith((".yaml", ".yml"))


def _name(task: str) -> str:
    """Return the name under which the harness knows a task: for a file the one it gives itself."""
    if not _is_file_name(task):
        return task
    match = _TASK_LINE.search(Path(task).read_text(encoding="utf-8"))
    if match is None:
        raise ConfigError(f"{task} names no task: it has no line `task: NAME`.", hint="--lm-eval my_task.yaml")
    return match.group(1)


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float) and name != "alias"}
