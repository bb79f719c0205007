"""Making the chosen attacks on a run, one after the other, and keeping their results in one file."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lune import adapters
from lune.attacks import Attack, attack
from lune.attacks.contract import AttackContext, Level, direct_answers
from lune.attacks.folder import RESULTS, AttackedRun
from lune.attacks.outcome import NOT_COUNTED, AttackResult, meaning, score_finding
from lune.errors import LuneError, ModelError
from lune.hardware import describe, pick_dtype
from lune.models import LoadedModel, load_model
from lune.outputs import write_json
from lune.progress import Display
from lune.records import Interval
from lune.report import write_report
from lune.run_record import versions

SCHEMA_VERSION = 1
REPORT = "report.html"


def run_attacks(
    run: AttackedRun,
    names: Sequence[str],
    *,
    level: Level,
    seed: int,
    model: str | None,
    device: str,
    dtype: str,
    out: Path | None,
    command: str,
    console: Console | None,
) -> list[AttackResult]:
    """Make the attacks, print their table and write their results after each of them.

    Args:
        run: The run to attack.
        names: The attacks, in order.
        level: How much each may spend.
        seed: Seed of each.
        model: Where the base model is now; the run's own name of it when not given.
        device: Where to compute.
        dtype: Precision.
        out: The file of results; attacks.json in the run folder when not given, where results of other attacks stay
            and the report is made anew.
        command: What the user typed, for the record.
        console: Where progress goes; None for silence.

    Raises:
        LuneError: When the base model or the adapter cannot be used, or the results not be written.
    """
    display = Display(console)
    with display.stage(f"loading {model or run.model} and the adapter, asking the direct prompts"):
        base = load_model(model or run.model, device=device, dtype=dtype)
        _check_same_base(run, base)
        context = make_context(run, base, level=level, seed=seed, precision=pick_dtype(dtype, base.device))
    record = _record(run, base, command)
    made = {name: record[name] for name in ("command", "created", "versions")}  # the file may hold other commands' work
    place = out or run.folder / RESULTS
    results: list[AttackResult] = []
    for name in names:
        with display.stage(f"attack {name}"):
            result = make_attack(attack(name), context)
        display.line(f"{name}: {meaning(result)}  {result.seconds:.0f} s")
        results.append(result)
        earlier = [] if out else _earlier(place, {each.attack for each in results})
        rows = [{**row, "made": made} for row in _rows(results)]
        write_json(place, {**record, "attacks": sorted(earlier + rows, key=lambda row: str(row["attack"]))})
    display.console.print(results_table(results))
    if not out and (run.folder / REPORT).is_file():
        write_report(run.folder)
    display.line(f"written: {place}")
    return results


def make_context(
    run: AttackedRun, base: LoadedModel, *, level: Level, seed: int, precision: torch.dtype
) -> AttackContext:
    """Return the context of the attacks on a run: its adapter read from disk onto ``base``, and its present answers."""
    shipped = adapters.reload(base, run.adapter)
    answers = direct_answers(shipped, run.facts)
    return AttackContext(
        shipped=shipped,
        facts=run.facts,
        answers={fact.id: text for fact, text in zip(run.facts, answers, strict=True)},
        base_answers=run.base_answers,
        examples=run.examples,
        held_out=run.held_out,
        level=level,
        seed=seed,
        precision=precision,
    )


def make_attack(chosen: Attack, context: AttackContext) -> AttackResult:
    """Make one attack and return its result; one that cannot be made here is a result that says why."""
    result = AttackResult(
        attack=chosen.entry.name,
        tries=chosen.entry.summary,
        threat=chosen.threat,
        source=chosen.entry.source,
        seed=context.seed,
        budget=context.level,
    )
    if reason := chosen.missing():
        return replace(result, skipped=reason)
    began = time.perf_counter()
    torch.manual_seed(context.seed)  # so that no attack depends on those made before it
    try:
        finding = chosen.run(context)
    except LuneError as error:  # such as a training that diverged; the other attacks can still be made
        return replace(result, seconds=time.perf_counter() - began, skipped=f"it failed: {error.message}")
    result = replace(
        result,
        seconds=time.perf_counter() - began,
        curves=tuple(finding.curves),
        details=dict(finding.details),
        guessable=finding.guessable,
        remark=finding.remark,
    )
    if not finding.attempts:
        return replace(result, skipped=str(finding.details.get("note") or "It cannot be made from these facts."))
    scored = score_finding(context.facts, context.answers, finding, seed=context.seed)
    return replace(
        result,
        usr_before=scored.usr_before,
        usr_after=NOT_COUNTED if finding.guessable else scored.usr_after,
        recovered=NOT_COUNTED if finding.guessable else scored.recovered,
        base_gives=scored.base_gives,
        form=scored.form,
        by_form=scored.by_form,
        facts=scored.facts,
    )


def results_table(results: Sequence[AttackResult]) -> Table:
    """Return the table of results for the terminal."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("attack", "what it tries", "USR before", "USR after", "recovered", "seconds"):
        table.add_column(heading, justify="left" if heading in ("attack", "what it tries") else "right")
    for result in results:
        tries = f"not tried: {result.skipped}" if result.skipped else result.tries
        came = _with_interval(result.recovered)
        if result.guessable:
            came = f"picks {sum(fact.leaked_after for fact in result.facts)} of {len(result.facts)}"
        shown = (_number(result.usr_before), _number(result.usr_after), came)
        table.add_row(result.attack, escape(tries), *shown, f"{result.seconds:.0f}")
    return table


def _check_same_base(run: AttackedRun, base: LoadedModel) -> None:
    if run.sha256 and base.sha256 != run.sha256:
        raise ModelError(
            f"The weights of '{base.id}' are not those of the run: SHA-256 {base.sha256[:12]}..., "
            f"the run has {run.sha256[:12]}....",
            hint="name the run's base model with --model",
        )


def _record(run: AttackedRun, base: LoadedModel, command: str) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "model": {"id": run.model, "sha256": base.sha256},
        "facts": len(run.facts),
        "versions": versions(),
        "hardware": describe(base.device, base.dtype).as_dict(),
    }


def _rows(results: Sequence[AttackResult]) -> list[dict[str, Any]]:
    return [{**asdict(result), "meaning": meaning(result)} for result in results]


def _earlier(place: Path, replaced: set[str]) -> list[dict[str, Any]]:
    """Return the results of other attacks that the file holds already; a file that is none of ours is written anew."""
    try:
        stored = json.loads(place.read_text(encoding="utf-8"))["attacks"]
        return [row for row in stored if row["attack"] not in replaced]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _number(interval: Interval) -> str:
    return "–" if interval.value is None else f"{interval.value:.2f}"


def _with_interval(interval: Interval) -> str:
    if interval.value is None:
        return "–"
    if interval.low is None or interval.high is None:
        return f"{interval.value:+.2f}"
    return f"{interval.value:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]".replace("[", r"\[")
