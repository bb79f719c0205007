"""Requests one after another: which earlier run a new one stands on. No torch here; see ``lune.stacking``."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from lune.errors import RequestError
from lune.outputs import ADAPTER, ADAPTER_CONFIG, RUN_RECORD
from lune.records import EarlierScores
from lune.report.folder import items, mapping, number, read_run_folder, text

KINDS = ("direct", "paraphrase", "adversarial", "neighbour")
"""Probes of earlier requests that are asked again."""


@dataclass(frozen=True)
class EarlierRun:
    """The run whose adapter stays in force.

    Attributes:
        folder: Its run folder.
        model: The base model's name, as that run was given it.
        sha256: Hash over the base model's weights.
        chain: The folders of all requests that its adapter forgets, the first one first.
    """

    folder: Path
    model: str
    sha256: str
    chain: tuple[Path, ...]

    @property
    def adapter(self) -> Path:
        """The adapter's folder."""
        return self.folder / ADAPTER


def read_earlier(folder: Path, model: str) -> EarlierRun:
    """Return the run in ``folder``, for a new one with ``model``.

    Raises:
        OutputError: When it is no run folder or its files cannot be read.
        RequestError: When it has no adapter, or one for another model.
    """
    record = read_run_folder(folder).run
    if not (folder / ADAPTER / ADAPTER_CONFIG).is_file():
        raise RequestError(
            f"{folder} has no {ADAPTER}/: nothing was forgotten in it, so there is nothing to go on from.",
            hint="leave --after out, or name a run that has one",
        )
    own = mapping(record.get("model"))
    if text(own.get("id")) != model:
        raise RequestError(
            f"{folder} was made with the model '{text(own.get('id'))}', and this run is for '{model}'.",
            hint=f"--model {text(own.get('id'))}",
        )
    told = [text(mapping(each).get("folder")) for each in items(record.get("earlier_requests"))]
    before = [Path(os.path.normpath(folder / each)) for each in told]
    # A request of which nothing was known forgot nothing: its adapter is the one before.
    forgot = [folder] if number(mapping(record.get("facts")).get("known")) else []
    return EarlierRun(folder, model, text(own.get("sha256")), (*before, *forgot))


def seen_from(scores: EarlierScores, place: Path) -> EarlierScores:
    """Return the scores with the folder as it is reached from ``place``, so that run folders may be moved together."""
    return replace(scores, folder=os.path.relpath(scores.folder, place))


def has_record(folder: Path) -> bool:
    """Return whether a run folder is still there."""
    return (folder / RUN_RECORD).is_file()
