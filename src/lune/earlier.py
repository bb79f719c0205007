"""Requests one after another: which earlier run a new one stands on. No torch here; see ``lune.stacking``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lune.errors import RequestError
from lune.outputs import ADAPTER, ADAPTER_CONFIG, RUN_RECORD
from lune.report.folder import items, mapping, read_run_folder, text

KINDS = ("direct", "paraphrase", "neighbour")
"""Probes of earlier requests that are asked again."""


@dataclass(frozen=True)
class EarlierRun:
    """The run whose adapter stays in force.

    Attributes:
        folder: Its run folder.
        model: The base model's name, as that run was given it.
        sha256: Hash over the base model's weights.
        chain: The folders of all requests that its adapter forgets, the first one first, its own last.
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
            f"{folder} has no {ADAPTER}/, so there is nothing to go on from.", hint="give a run folder of `lune forget`"
        )
    own = mapping(record.get("model"))
    if text(own.get("id")) != model:
        raise RequestError(
            f"{folder} was made with the model '{text(own.get('id'))}', and this run is for '{model}'.",
            hint=f"--model {text(own.get('id'))}",
        )
    before = [Path(text(mapping(each).get("folder"))) for each in items(record.get("earlier_requests"))]
    return EarlierRun(folder, model, text(own.get("sha256")), (*before, folder))


def has_record(folder: Path) -> bool:
    """Return whether a run folder is still there."""
    return (folder / RUN_RECORD).is_file()
