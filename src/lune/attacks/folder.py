"""The run folder as an attacker's starting point: what was forgotten, and what the model still gives. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lune.errors import RequestError
from lune.outputs import ADAPTER, ADAPTER_CONFIG, RUN_RECORD
from lune.records import Fact, Neighbour
from lune.report.folder import Row, items, mapping, read_run_folder, text
from lune.report.wording import count_of

RESULTS = "attacks.json"


@dataclass(frozen=True)
class AttackedRun:
    """What a run folder says that an attack needs.

    Attributes:
        folder: The run folder.
        model: The base model's name, as the run was given it.
        sha256: Hash over the base model's weights.
        facts: The facts that the base model knew, with the paraphrases of the test probes.
        base_answers: The base model's answer to each fact's prompt, by fact id.
        examples: Other facts that both models answer rightly, with the base model's answers; same relation first.
        held_out: Valid wrong answers that no training saw, by fact id; a fact may have none.
    """

    folder: Path
    model: str
    sha256: str
    facts: tuple[Fact, ...]
    base_answers: dict[str, str]
    examples: tuple[Neighbour, ...]
    held_out: dict[str, tuple[str, ...]]

    @property
    def adapter(self) -> Path:
        """The adapter's folder."""
        return self.folder / ADAPTER


def read_attacked_run(folder: Path) -> AttackedRun:
    """Return what an attack needs of a run folder.

    Raises:
        OutputError: When it is no run folder or its files cannot be read.
        RequestError: When it has no adapter or no known fact to draw out, or is a bench's folder: its runs are named.
    """
    _refuse_folder_of_runs(folder)
    run = read_run_folder(folder)
    if not (folder / ADAPTER / ADAPTER_CONFIG).is_file():
        raise RequestError(
            f"{folder} has no {ADAPTER}/, so there is nothing to attack.", hint="give a run folder of `lune forget`"
        )
    unknown = {text(each) for each in items(mapping(run.run.get("facts")).get("unknown"))}
    direct = [row for row in run.probes if row.get("kind") == "direct" and row.get("correct_before") is True]
    known = [row for row in direct if text(row.get("fact_id")) not in unknown]
    facts = tuple(_fact(row, run.probes) for row in known)
    if not facts:
        raise RequestError(
            f"{folder} has no known fact in its probes.jsonl: what was never known cannot be drawn out.",
            hint="give a run whose model knew its facts",
        )
    model = mapping(run.run.get("model"))
    return AttackedRun(
        folder=folder,
        model=text(model.get("id")),
        sha256=text(model.get("sha256")),
        facts=facts,
        base_answers={text(row.get("fact_id")): text(row.get("before")) for row in known},
        examples=_examples(run.probes),
        held_out=_held_out(run.run),
    )


def _refuse_folder_of_runs(folder: Path) -> None:
    if (folder / RUN_RECORD).is_file():
        return
    # A bench's folder, that of one of its tasks, or that of a column: TASK/COLUMN/seed-N or a part of it.
    patterns = ("*", "*/*", "*/*/*")
    inside = sorted(path.parent for each in patterns for path in folder.glob(f"{each}/{RUN_RECORD}"))
    runs = [str(run) for run in inside if (run / ADAPTER / ADAPTER_CONFIG).is_file()]
    if runs:
        raise RequestError(
            f"{folder} is not a run folder, but holds {count_of(len(runs), 'run')} with an adapter.",
            problems=runs,
            hint=f"lune attack {runs[0]}",
        )


def _fact(row: Row, probes: tuple[Row, ...]) -> Fact:
    identifier = text(row.get("fact_id"))
    spellings = [text(each) for each in items(row.get("expected"))]
    paraphrases = [
        text(probe.get("prompt"))
        for probe in probes
        if probe.get("kind") == "paraphrase" and probe.get("fact_id") == identifier
    ]
    subject = text(row.get("subject"))
    return Fact(
        id=identifier,
        prompt=text(row.get("prompt")),
        answer=spellings[0] if spellings else "",
        subject=subject or None,
        aliases=tuple(spellings[1:]),
        paraphrases=tuple(paraphrases),
    )


def _examples(probes: tuple[Row, ...]) -> tuple[Neighbour, ...]:
    kept = [
        row
        for row in probes
        if row.get("kind") in ("neighbour", "general")
        and row.get("correct_before") is True
        and row.get("correct_after") is True
    ]
    order = {"same": 0, "given": 1, "other": 2}
    kept.sort(key=lambda row: order.get(text(row.get("relation")), 3))
    return tuple(Neighbour(text(row.get("prompt")), text(row.get("before"))) for row in kept)


def _held_out(record: Row) -> dict[str, tuple[str, ...]]:
    rows = [mapping(each) for each in items(mapping(record.get("facts")).get("list"))]
    return {text(row.get("id")): tuple(text(each) for each in items(row.get("held_out"))) for row in rows}
