"""Writing results so that nothing half-written is ever left behind: outputs appear by rename.

A run folder is staged beside its place under a hidden name and renamed when it is complete; single files
are written the same way. What the file system refuses becomes one ``OutputError``.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lune.errors import LuneError, OutputError

RUNS_FOLDER = Path("runs")
ADAPTER, ADAPTER_CONFIG = "adapter", "adapter_config.json"
RUN_RECORD = "run.json"  # what makes a folder a run folder, and so one that --force may replace

_REFUSALS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "the operation is not permitted",
    errno.EFBIG: "the file is larger than allowed here",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
}
# Libraries written in Rust and C++ (safetensors, torch) report a full disk as errors of their own, in words.
_REFUSALS_IN_WORDS = {
    "no space left on device": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "read-only file system": errno.EROFS,
}
SPACE_FOR_RECORDS_MB = 30
"""What a run writes besides its adapter, generously."""
_HINT = "name another place with --out"
_HINT_FULL = "free some space or name another place with --out"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PARTIAL = ".partial-"
_MB = 1_000_000
_PROBE_BYTES = 65_536


def as_output_error(error: BaseException, path: Path | str | None = None) -> OutputError | None:
    """Return ``error`` as an OutputError when the file system refused something, else None.

    Args:
        error: What was raised.
        path: What was being written; the error's own file name when not given.
    """
    if isinstance(error, LuneError):
        return None
    number = error.errno if isinstance(error, OSError) else None
    if number not in _REFUSALS:
        text = str(error).lower()
        number = next((known for words, known in _REFUSALS_IN_WORDS.items() if words in text), None)
    if number is None:
        return None
    file = error.filename if isinstance(error, OSError) else None
    subject = f"{path} cannot be written" if path is not None else str(file or "The output")
    return OutputError(f"{subject}: {_REFUSALS[number]}.", hint=_HINT_FULL if number in _FULL else _HINT)


@contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """Turn what the file system refuses inside the block into an OutputError that names ``path``."""
    try:
        yield
    except OSError as error:
        named = as_output_error(error, path)
        raise named or OutputError(f"{path} cannot be written: {error.strerror}.", hint=_HINT) from error


def free_space_check(path: Path, needed_mb: float) -> None:
    """Raise OutputError when the disk that holds ``path`` has less than ``needed_mb`` (10^6 bytes) free."""
    place = path.absolute()
    # A staging folder is nothing that a user knows.
    while (not place.exists() or _PARTIAL in place.name) and place != place.parent:
        place = place.parent
    with refusals_named(path):
        free_mb = shutil.disk_usage(place).free / _MB
    if free_mb < needed_mb:
        raise OutputError(
            f"The disk of {place} has {free_mb:,.0f} MB free, and about {needed_mb:,.0f} MB are needed.",
            hint=_HINT_FULL,
        )


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, all of it or nothing.

    Raises:
        OutputError: When it cannot be written; what was at ``path`` before is still there then.
    """
    staged = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with refusals_named(path):
            with staged.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            staged.replace(path)
    finally:
        with suppress(OSError):
            staged.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` (plain data, dataclasses, paths) as indented JSON; numbers that are not finite become null.

    Raises:
        OutputError: When it cannot be written.
    """
    write_text(path, json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write each of ``rows`` (mappings or dataclasses) as one line of JSON, as ``write_json`` does.

    Raises:
        OutputError: When it cannot be written.
    """
    lines = [json.dumps(_plain(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
    write_text(path, "".join(lines))


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def check_output_file(path: Path, *, force: bool = False) -> None:
    """Raise OutputError when ``path`` cannot become a file; nothing is left changed.

    Args:
        path: The file that will be written later, by ``write_text`` or one that calls it.
        force: Whether a file that is there may be replaced.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; a file is wanted.", hint="name a file with --out")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is not a regular file.", hint="name a file with --out")
    if path.exists() and not force:
        raise OutputError(f"{path} exists already.", hint="name another --out, or add --force to replace it")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}.", hint=f"mkdir -p {path.parent}")
    with refusals_named(path):
        _prove_writable(path.parent / f".{path.name}.partial-{os.getpid()}")


def _prove_writable(place: Path) -> None:
    """Write a little to ``place`` and remove it: permission bits tell nothing of root, read-only mounts, full disks."""
    try:
        with place.open("wb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        with suppress(OSError):
            place.unlink(missing_ok=True)


class RunFolder:
    """A run's results on their way: written to ``path``, they appear under ``target`` at ``commit()``.

    Entering the context makes every check that can be made before the work. Leaving it without ``commit()``
    removes what was staged, and the parent folders that were made for it.

    Args:
        out: The folder to make; ``None`` for ``default``, with -2, -3 ... when that is taken.
        default: The folder when ``out`` is None.
        force: Replace a run folder that is there, at ``commit()`` and not before; None where no flag asks for it.

    Attributes:
        path: The staging folder, to write into; it exists inside the context.
        target: The folder that ``commit()`` makes.
    """

    def __init__(self, out: Path | None, *, default: Path, force: bool | None = False) -> None:
        """Say where the folder goes; ``force`` is None for a command that replaces none.

        Raises:
            OutputError: When the name given is empty.
        """
        if out == Path():  # an empty --out is a path too, that of the current folder
            raise OutputError(
                "--out is empty or the current folder; a folder to make is wanted.", hint="--out runs/NAME, or no --out"
            )
        self._named = out is not None
        self._force = force
        self._made_parents: list[Path] = []
        self._place = out if out is not None else default
        self._done = False
        self.target = self._place
        self.path = self._place

    def __enter__(self) -> Self:
        """Check that the folder can be made and stage it.

        Raises:
            OutputError: When it exists (and may not be replaced) or cannot be written.
        """
        self.target = self._choose_target()
        try:
            with refusals_named(self.target):
                self._make_parents()
                self.path = self._make_staging()
                _prove_writable(self.path / ".writable")
        except BaseException:
            self._remove_staged()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove what was staged unless it was committed or kept; name a full or read-only disk as such."""
        if not self._done:
            self._remove_staged()
        if error is not None and not isinstance(error, OutputError):
            named = as_output_error(error, self.target)
            if named is not None:
                raise named from error

    def commit(self) -> Path:
        """Rename the staging folder to its name and return that.

        Another run may have taken the name meanwhile: then, without force, the next free -2, -3 ... is used,
        for finished work is not thrown away.

        Raises:
            OutputError: When the rename is refused.
        """
        with refusals_named(self.target):
            if self._force and self.target.exists():
                self._replace()
            else:
                self.target = _first_free(self.target)
                self.path.rename(self.target)
        self.path = self.target
        self._done = True
        return self.target

    def _choose_target(self) -> Path:
        """Return the folder to make, its links resolved only where something is to be replaced."""
        with refusals_named(self._place):
            try:
                taken = self._place.exists() or self._place.is_symlink()
                real = self._place.resolve()
            except (RuntimeError, ValueError) as error:  # a loop of links, a null byte
                raise OutputError(f"{self._place} is not a usable path: {error}.", hint="name another --out") from error
            if not taken:
                return self._place
            if not self._force:
                if not self._named:
                    return _first_free(self._place)
                hint = "name another --out" + (", or add --force to replace it" if self._force is not None else "")
                raise OutputError(f"The output folder {self._place} exists already.", hint=hint)
            if not real.is_dir() or not ((real / RUN_RECORD).is_file() or not any(real.iterdir())):
                message = f"{self._place} is not a run folder (it has no {RUN_RECORD}), so --force does not replace it."
                raise OutputError(message, hint="name another --out")
            return real

    def _make_parents(self) -> None:
        """Make the missing folders above the target and remember them."""
        missing = [parent for parent in self.target.parents if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir(exist_ok=True)
            self._made_parents.append(parent)

    def _make_staging(self) -> Path:
        """Make and return a folder of its own beside the target, on the same file system so that a rename suffices."""
        # A folder of that name may be left by a killed process that had the same id.
        staging = _first_free(self.target.with_name(f".{self.target.name}.partial-{os.getpid()}"))
        staging.mkdir()
        return staging

    def _replace(self) -> None:
        """Put the staging folder in the place of the old run, which is back there if that fails."""
        old = self.target.with_name(f".{self.target.name}.old-{os.getpid()}")
        self.target.rename(old)
        try:
            self.path.rename(self.target)
        except BaseException:
            old.rename(self.target)
            raise
        shutil.rmtree(old, ignore_errors=True)

    def _remove_staged(self) -> None:
        """Remove the staging folder and the parents made for it, as far as they are empty."""
        if self.path != self._place:
            shutil.rmtree(self.path, ignore_errors=True)
        for parent in reversed(self._made_parents):
            with suppress(OSError):
                parent.rmdir()


def _first_free(folder: Path) -> Path:
    """Return ``folder``, or the first of folder-2, folder-3 ... that is not taken."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    return next(each for each in chain([folder], numbered) if not os.path.lexists(each))


def default_run_folder(source: str) -> Path:
    """Return where a run of the request ``source`` goes when no --out is given: runs/ and the request's name."""
    stem = Path(source).stem if source != "-" else ""
    return RUNS_FOLDER / (stem or "request")
