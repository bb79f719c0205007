"""Asking a model the probes of a file, with or without an adapter: what ``lune evaluate`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lune import adapters
from lune.evaluation import ask, probe_scores
from lune.facts import read_probes
from lune.models import LoadedModel, load_model
from lune.outputs import write_json
from lune.progress import Display
from lune.records import Probe
from lune.text import contains


def evaluate(
    model: str, probes: str | Path | Sequence[Probe], *, adapter: Path | str | None = None
) -> list[dict[str, Any]]:
    """Ask ``model``, with an adapter when given, the probes; return one row a probe with answer and correctness.

    Raises:
        LuneError: When the probes, the model or the adapter cannot be used.
    """
    asked = read_probes(str(probes)) if isinstance(probes, str | Path) else list(probes)
    return _evaluated(_with_adapter(load_model(model), Path(adapter) if adapter else None), asked)


def run_evaluate(
    *,
    model: str,
    adapter: Path | None,
    probes: Sequence[Probe],
    before: Mapping[str, tuple[str, bool]],
    out: Path | None,
    device: str,
    dtype: str,
    seed: int,
    console: Console | None,
) -> list[dict[str, Any]]:
    """Ask a model the probes, print the scores, and write them with the rows when asked.

    Args:
        model: Hub id, local folder, or the built-in model's name.
        adapter: Folder of an adapter to put on it.
        probes: What to ask.
        before: Probe id to the base model's answer and whether it was right, for every probe; empty when not known.
        out: File for the scores and rows.
        device: The ``device`` setting.
        dtype: The ``dtype`` setting.
        seed: Seed of everything random.
        console: Where progress goes; None for silence.

    Raises:
        LuneError: When the model or the adapter cannot be used.
    """
    display = Display(console)
    torch.manual_seed(seed)
    with display.stage(f"loading {model}, asking {len(probes)} probes"):
        rows = _evaluated(_with_adapter(load_model(model, device=device, dtype=dtype), adapter), probes)
    table = Table(
        box=box.SIMPLE_HEAD, title=Text(f"{model}{f' with {adapter}' if adapter else ''}"), title_justify="left"
    )
    for heading in ("probes", "asked", "contain the expected answer", "share"):
        table.add_column(heading, justify="left" if heading == "probes" else "right")
    for kind in dict.fromkeys(str(row["kind"]) for row in rows):
        right = [bool(row["correct"]) for row in rows if row["kind"] == kind]
        table.add_row(kind, str(len(right)), str(sum(right)), f"{sum(right) / len(right):.3f}")
    display.console.print(table)
    display.line(
        "For direct, paraphrase and adversarial probes an answer that contains the expected one is a leak.", style="dim"
    )
    scores = probe_scores(probes, [str(row["answer"]) for row in rows], before)
    if before:
        display.line("  ".join(_score(name, value) for name, value in scores.items()))
    if out is not None:
        with_what = str(adapter) if adapter else None
        write_json(out, {"model": model, "adapter": with_what, "scores": scores, "probes": rows})
        display.line(f"written: {out}")
    return rows


def _with_adapter(model: LoadedModel, adapter: Path | None) -> LoadedModel:
    return adapters.reload(model, adapter) if adapter else model


def _evaluated(model: LoadedModel, probes: Sequence[Probe]) -> list[dict[str, Any]]:
    texts = ask(model, probes)
    return [
        {**asdict(probe), "answer": texts[probe.id], "correct": contains(texts[probe.id], probe.expected)}
        for probe in probes
    ]


def _score(name: str, value: float | None) -> str:
    return f"{name} {'n/a' if value is None else f'{value:.3f}'}"
