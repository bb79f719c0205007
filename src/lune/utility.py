"""Measuring what a model can do in general, with or without an adapter: the stage behind ``lune utility``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from lune import adapters
from lune.metrics.harness import harness_scores
from lune.metrics.utility import METRICS, answers_file, mean_scores
from lune.models import load_model
from lune.outputs import write_json, write_jsonl
from lune.progress import Display

_COUNTS = ("count", "sample_len")  # whole numbers among the scores


def run_utility(
    *,
    model: str,
    adapter: Path | None,
    tables: Mapping[str, Sequence[dict[str, Any]]],
    tasks: Sequence[str],
    chat: bool,
    limit: int | None,
    out: Path | None,
    device: str,
    dtype: str,
    seed: int,
    console: Console | None,
) -> dict[str, Any]:
    """Measure a model's general abilities, print them, and write them when asked.

    Args:
        model: Hub id, local folder, or the built-in model's name.
        adapter: A PEFT adapter to put on it.
        tables: Questions as `lune.metrics.utility.read_utility` returns them; may be empty.
        tasks: Tasks of the lm-evaluation-harness; may be empty.
        chat: Whether those are asked through the chat template.
        limit: Most questions of each of those.
        out: Where to write the scores as JSON; the answers to ``tables`` go beside it (`answers_file`).
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        seed: Seed of torch and of the harness.
        console: Where to print; None prints nothing.

    Raises:
        LuneError: When the model, the adapter or the harness cannot be used.
    """
    display = Display(console)
    torch.manual_seed(seed)
    with display.stage(f"loading {model}"):
        loaded = load_model(model, device=device, dtype=dtype)
        loaded = adapters.reload(loaded, adapter) if adapter else loaded
    scores: dict[str, dict[str, float]] = {}
    answers: list[dict[str, Any]] = []
    for name, rows in tables.items():
        with display.stage(f"{name}: {len(rows)} questions"):
            judged = METRICS[name](loaded, rows)
        scores[name] = mean_scores(judged)
        answers += [{"ability": name, **asdict(each)} for each in judged]
    harness: dict[str, dict[str, float]] = {}
    if tasks:
        with display.stage(f"lm-evaluation-harness: {', '.join(tasks)}"):
            harness = harness_scores(loaded, tasks, limit=limit, chat=chat, seed=seed)
    display.console.print(_table(f"{model}{f' with {adapter}' if adapter else ''}", {**scores, **harness}))
    record = {
        "model": model,
        "adapter": str(adapter) if adapter else None,
        "sha256": loaded.sha256,
        "utility": scores,
        "lm_eval": harness,
    }
    if out is not None:
        write_json(out, record)
        display.line(f"written: {out}")
        if answers:
            write_jsonl(answers_file(out), answers)
            display.line(f"written: {answers_file(out)}, the answer to each question")
    return record


def _table(title: str, scores: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for heading in ("ability", "score", "value"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for name, values in scores.items():
        for score, value in values.items():
            table.add_row(name, score, f"{value:.0f}" if score in _COUNTS else f"{value:.3f}")
    return table
