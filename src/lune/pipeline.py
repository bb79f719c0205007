"""The stages of a run, in order: request -> negatives + probes -> training -> adapter -> evaluation -> report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console

from lune import adapters
from lune.announce import say_prepared, say_trained, say_verdict
from lune.benchmarks.cell import Cell
from lune.earlier import read_earlier, seen_from
from lune.evaluation import (
    RememberedAnswers,
    Texts,
    answered,
    ask,
    infer_membership,
    known_facts,
    membership_texts,
)
from lune.facts import check_facts, read_request
from lune.hardware import Hardware, describe, pick_device, pick_dtype
from lune.metrics import Summary, summarise
from lune.metrics.membership import LOWEST_SHARE
from lune.models import LoadedModel, load_model
from lune.negatives.build import NegativeSet
from lune.negatives.show import negatives_table
from lune.outputs import (
    ADAPTER,
    SPACE_FOR_RECORDS_MB,
    RunFolder,
    default_run_folder,
    free_space_check,
    write_json,
    write_jsonl,
    write_text,
)
from lune.preparation import Prepared, make_negatives, prepare
from lune.probes.surroundings import look_around
from lune.progress import Display
from lune.records import Answered, EarlierScores, Fact
from lune.report import write_report
from lune.run_record import probe_row, run_record
from lune.sentences import with_key_words
from lune.settings import ForgetSettings, resolve
from lune.stacking import Standing, ask_earlier, attach_both, keep_earlier_adapter, load_with, products_of
from lune.subjects import with_subjects
from lune.training.session import Trained, check_layers, train_adapter
from lune.verdict import judge

RELOAD_PROBES = 8
"""Dev probes that a reloaded adapter must answer as the trained one did, beside the plain questions."""


@dataclass(frozen=True)
class RunOutcome:
    """What a run came to.

    Attributes:
        verdict: FORGOTTEN, PARTLY, DAMAGED or NOT KNOWN BEFORE.
        folder: The run folder, with the adapter, the report and run.json.
        metrics: The scores before and after, as in run.json.
    """

    verdict: str
    folder: Path
    metrics: Summary


def forget(request: str | Path | Sequence[Fact], *, out: Path | str | None = None, **settings: Any) -> RunOutcome:
    """Forget the facts of a request and measure it: the stages of ``lune forget``.

    Args:
        request: A request file, or the facts themselves.
        out: Run folder to make; runs/REQUEST-NAME when not given.
        **settings: Any setting of ``ForgetSettings`` by name, such as ``model`` or ``seed``.

    Raises:
        LuneError: Bad input or settings, or a run that failed; nothing half-written is left.
    """
    named = isinstance(request, str | Path)
    facts = read_request(str(request)) if isinstance(request, str | Path) else list(request)
    check_facts(facts)
    resolved = resolve({**settings, **({"out": Path(out)} if out else {})})
    default = default_run_folder(str(request)) if named else Path("runs/request")
    with RunFolder(resolved.out, default=default) as folder:
        return run_forget(facts, resolved, folder=folder, console=None, command="lune.forget")


def run_forget(
    facts: Sequence[Fact],
    settings: ForgetSettings,
    *,
    folder: RunFolder,
    console: Console | None,
    command: str,
    cell: Cell | None = None,
) -> RunOutcome:
    """Do a whole run and commit its folder.

    Args:
        facts: The request.
        settings: Resolved settings.
        folder: The staged run folder.
        console: Where progress goes; None for silence. A benchmark's cell has its own display.
        command: What the user typed, for the record.
        cell: What a benchmark adds: its task, the loaded model, its protocol.

    Raises:
        LuneError: When an input, the model, the training or the disk does not allow the run.
        KeyboardInterrupt: When a benchmark's training was interrupted: half a training is no cell.
    """
    began = time.perf_counter()
    free_space_check(folder.path, SPACE_FOR_RECORDS_MB)
    earlier = read_earlier(settings.after, settings.model) if settings.after else None
    kind = cell.model.device if cell else pick_device(settings.device)
    # Before the model is loaded: of several processes each has a graphics card of its own to load it onto.
    accelerator = Accelerator(cpu=kind.type == "cpu")
    device = accelerator.device if accelerator.device.type == kind.type else kind
    display = Display(console) if cell is None else cell.display
    display = display if accelerator.is_main_process else Display(None)
    standing = None
    if cell is None:
        with display.stage(f"loading {settings.model}{f' with what {earlier.folder} forgot' if earlier else ''}"):
            model, standing = load_with(settings.model, earlier, device=str(device), dtype=settings.dtype)
    else:
        model = cell.model
    if cell is None:
        facts, told = with_key_words(facts)
        for line in told:
            display.line(line)
    timings = {"load": time.perf_counter() - began}
    return _run(
        facts,
        settings,
        folder=folder,
        command=command,
        model=model,
        accelerator=accelerator,
        display=display,
        timings=timings,
        began=began,
        cell=cell,
        standing=standing,
    )


def _run(
    facts: Sequence[Fact],
    settings: ForgetSettings,
    *,
    folder: RunFolder,
    command: str,
    model: LoadedModel,
    accelerator: Accelerator,
    display: Display,
    timings: dict[str, float],
    began: float,
    cell: Cell | None,
    standing: Standing | None,
) -> RunOutcome:
    precision = pick_dtype(settings.dtype, model.device)
    hardware = replace(describe(model.device, model.dtype), dtype=str(precision).removeprefix("torch."))
    display.line(f"{_precisions(hardware, model)} · {settings.model}")
    # A range that the model does not have is refused before the minutes of preparation, not after them.
    check_layers(model, settings)
    torch.manual_seed(settings.seed)
    base = cell.answers if cell else RememberedAnswers(model)
    with display.stage("making negatives and probes, asking the base model"):
        prepared = prepare(facts, base, settings, cell.task if cell else None)
    timings.update(prepared.seconds)
    say_prepared(display, prepared)
    texts = _membership_texts(prepared, cell)
    lowest = cell.task.lowest_share if cell else LOWEST_SHARE
    mia_before = infer_membership(base, texts, lowest=lowest)

    trained, checks, after, mia_after = None, {}, prepared.before, mia_before
    shipped = (cell and cell.instead) or model
    if prepared.known and not (cell and cell.instead):
        trained = train_adapter(
            model,
            prepared,
            settings,
            precision=precision,
            accelerator=accelerator,
            display=display,
            folder=folder.path,
        )
        timings["train"] = trained.seconds
        say_trained(display, trained, settings)
        if cell and trained.outcome.interrupted:
            raise KeyboardInterrupt
        checks["adapter_matrices_moved"] = trained.moved
    start, earlier = time.perf_counter(), []
    if trained or shipped is not model:
        with display.stage(f"{'reloading the adapter from disk, ' if trained else ''}asking every test probe"):
            if trained:
                shipped, checks["reloaded_same_answers"] = _save_and_reload(
                    model, prepared, folder.path / ADAPTER, standing
                )
            after, mia_after = ask(shipped, prepared.test), infer_membership(shipped, texts, lowest=lowest)
    if trained:
        display.line(f"adapter read back from disk: {checks['reloaded_same_answers']} answers the same")
    if standing:
        if not trained:
            keep_earlier_adapter(standing, folder.path / ADAPTER)
        with display.stage("asking the probes of the earlier requests"):
            earlier = ask_earlier(shipped, standing.run)
    timings["evaluate"] += time.perf_counter() - start
    rows = answered(prepared.test, prepared.before, after)
    known = {fact.id for fact in prepared.known}
    metrics = summarise(rows, known, prepared.made.alternates, mia_before, mia_after, seed=settings.seed)
    return _conclude(
        _Measured(rows, metrics, trained, shipped, checks, earlier),
        prepared,
        settings,
        folder=folder,
        command=command,
        model=model,
        display=display,
        training_dtype=hardware.dtype,
        accelerator=accelerator,
        timings=timings,
        began=began,
        cell=cell,
    )


@dataclass(frozen=True)
class _Measured:
    """What a run did and found: answers, scores, training, the shipped model, its checks, and earlier requests."""

    rows: list[Answered]
    metrics: Summary
    trained: Trained | None
    shipped: LoadedModel
    checks: dict[str, str]
    earlier: list[EarlierScores]


def _conclude(
    measured: _Measured,
    prepared: Prepared,
    settings: ForgetSettings,
    *,
    folder: RunFolder,
    command: str,
    model: LoadedModel,
    display: Display,
    training_dtype: str,
    accelerator: Accelerator,
    timings: dict[str, float],
    began: float,
    cell: Cell | None,
) -> RunOutcome:
    """Judge the run, write its record and report, commit the folder, and say the verdict."""
    metrics, known_ids = measured.metrics, {fact.id for fact in prepared.known}
    covered = len(
        {row.probe.fact_id for row in measured.rows if row.probe.kind == "neighbour" and row.correct_before} & known_ids
    )
    verdict = judge(
        metrics["before"],
        metrics["after"],
        len(prepared.known),
        len(prepared.facts),
        with_neighbours=covered,
        earlier=measured.earlier,
    )
    timings["total"] = time.perf_counter() - began
    record = run_record(
        settings=settings,
        command=command,
        model=model,
        training_dtype=training_dtype,
        prepared=prepared,
        trained=measured.trained,
        metrics=metrics,
        verdict=verdict,
        checks=measured.checks,
        timings=timings,
        own_members=bool(cell and cell.task.non_members),
        earlier=[seen_from(each, folder.target) for each in measured.earlier],
    )
    target = folder.target
    if cell:
        record |= cell.finish(measured.shipped, folder.path)
        if measured.trained:
            adapters.detach(measured.shipped)
    if accelerator.is_main_process:
        if measured.trained:
            after = metrics["after"]
            told = {"USR": after["usr"], "APR": after["apr"], "neighbours": after["gur_neighbour"]}
            told["general"] = after["gur_general"]
            scores = ", ".join(f"{name} {share:.3f}" for name, share in told.items() if share is not None)
            write_text(folder.path / ADAPTER / "README.md", adapters.card(model, verdict.word, scores))
        target = _write(folder, record, measured.rows, prepared, measured.trained)
    accelerator.wait_for_everyone()
    say_verdict(
        display,
        verdict,
        metrics["after"],
        known=len(known_ids),
        target=target,
        model_id=model.id,
        seconds=timings["total"],
        with_neighbours=covered,
        earlier=measured.earlier,
    )
    return RunOutcome(verdict.word, target, metrics)


def _precisions(hardware: Hardware, model: LoadedModel) -> str:
    """Return the machine in one line, with both precisions where training and answering differ in theirs."""
    answers = str(model.dtype).removeprefix("torch.")
    if answers == hardware.dtype:
        return hardware.in_words()
    return f"{replace(hardware, dtype=f'trained in {hardware.dtype}').in_words()}, answers in {answers}"


def _save_and_reload(
    model: LoadedModel, prepared: Prepared, folder: Path, standing: Standing | None
) -> tuple[LoadedModel, str]:
    """Write the adapter, load it back onto the bare base model, and compare answers.

    Where it stands on an earlier one, both are written as one.

    Raises:
        RunError: When the reloaded adapter answers differently from the trained one.
    """
    prompts = [fact.prompt for fact in prepared.facts] + [probe.prompt for probe in prepared.dev][:RELOAD_PROBES]
    expected = model.answer(prompts)
    if standing is None:
        base = model
    else:
        base = attach_both(standing, products_of(model.model))
        adapters.detach(model)
    adapters.save(base.model, folder)
    adapters.detach(base)
    shipped = adapters.reload(base, folder)
    return shipped, adapters.check_same(expected, shipped.answer(prompts))


def _membership_texts(prepared: Prepared, cell: Cell | None) -> list[Texts]:
    """Return members and non-members: a benchmark's own where it has them, else by fact, answers against held out."""
    if cell and cell.task.members and cell.task.non_members:
        return [(cell.task.members, cell.task.non_members)]
    return membership_texts(prepared.known, prepared.made.held_out)


def _write(
    folder: RunFolder, record: dict[str, Any], rows: Sequence[Answered], prepared: Prepared, trained: Trained | None
) -> Path:
    write_json(folder.path / "run.json", record)
    write_jsonl(folder.path / "negatives.jsonl", [*prepared.made.negatives, *(trained.relapses if trained else ())])
    write_jsonl(folder.path / "rejected.jsonl", prepared.made.rejected)
    write_jsonl(folder.path / "probes.jsonl", [probe_row(item) for item in rows])
    write_jsonl(folder.path / "history.jsonl", trained.history.rows if trained else [])
    write_report(folder.path)
    return folder.commit()


def run_negatives(
    facts: Sequence[Fact], settings: ForgetSettings, *, out: Path | None, console: Console | None
) -> NegativeSet:
    """Propose and check the negatives of a request without training, show them, and write them when asked.

    Raises:
        LuneError: When the model cannot be loaded or a fact has too few valid alternates.
    """
    display = Display(console)
    with display.stage(f"loading {settings.model}, asking it for wrong answers"):
        base = RememberedAnswers(load_model(settings.model, device=settings.device, dtype=settings.dtype))
        complete = with_subjects(with_key_words(facts)[0], base)
        known = known_facts(complete, base)
        around = look_around(known, base, anchors=0, seed=settings.seed, whole=complete)
        made = make_negatives(known, base, settings, around)
    if unknown := [fact.id for fact in complete if fact not in known]:
        display.line(f"Not known to the model, so nothing would be trained: {', '.join(unknown)}")
    display.console.print(negatives_table(known, made))
    if out is not None:
        write_jsonl(out, made.negatives)
        display.line(f"written: {out}")
    return made
